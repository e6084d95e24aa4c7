"""Who may use the bridge: client tokens, and what each client may do at once."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.web.guard import HeadersLike
from chatbridge.web.ledger import Ledger

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\s+(?:sha256:)?([0-9a-fA-F]{64})")
_BEARER = re.compile(rb"bearer[ \t]+([^\s]+)", re.IGNORECASE)
_MINUTE = 60.0


class TokenError(Exception):
    """A token file that cannot be used; the text names file and line, and no token."""


def digest(token: str) -> bytes:
    """Return what is kept of a token. Tokens are long and random, so a plain hash does."""
    return hashlib.sha256(token.encode()).digest()


def read_tokens(path: str) -> Mapping[str, bytes]:
    """Read a token file: a line for each client, its name and the SHA-256 of its token in hex; ``#`` begins a comment.

    Returns digests by name. Raises :class:`TokenError`.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:  # also for a name that no file can have
        raise TokenError(f"{path}: {error.strerror if isinstance(error, OSError) else 'not UTF-8 text'}") from None
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        match = _LINE.fullmatch(said)
        if match is None:
            # Not repeated: it may be the token itself.
            raise TokenError(f"{path}:{number}: must be NAME and the token's SHA-256 in hex; see chatbridge token")
        if match[1] in found:
            raise TokenError(f"{path}:{number}: the name {match[1]} stands here twice")
        found[match[1]] = bytes.fromhex(match[2])
    if not found:
        raise TokenError(f"{path}: holds no token")
    return found


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who may ask. The ledger counts its requests in *slot*, its open WebSockets in *sockets*."""

    name: str
    slot: int
    sockets: int


class Entry:
    """One running request of a client."""

    def __init__(self, access: Access, client: Client) -> None:
        self._access = access
        self._client = client
        self._held = False

    def hold(self) -> Callable[[], None]:
        """Go on counting after the request's end; return what ends that."""
        self._held = True
        return self._leave

    def request_ended(self) -> None:
        """The request is over."""
        if not self._held:
            self._leave()

    def _leave(self) -> None:
        self._access.leave(self._client)


class Access:
    """Admits requests by their bearer token; without *tokens* (digests by name) everyone is one client.

    *streams* limits the requests of one client at once, *rate* those in a minute; 0 is no limit. *seconds* is the
    clock, *ledger* where they are counted.
    """

    def __init__(
        self,
        tokens: Mapping[str, bytes],
        seconds: Callable[[], float],
        *,
        streams: int = 0,
        rate: int = 0,
        ledger: Ledger | None = None,
    ) -> None:
        self._ledger = ledger = ledger or Ledger()
        self._clients = [(value, _counted(name, ledger)) for name, value in tokens.items()]
        self._anyone = None if tokens else _counted("", ledger)
        self._seconds = seconds
        self._streams = streams
        self._rate = rate

    def __iter__(self) -> Iterator[Client]:
        return iter([self._anyone] if self._anyone else [client for _, client in self._clients])

    def client(self, headers: HeadersLike) -> Client:
        """Return whose request this is. Raises the one 401 that there is."""
        if self._anyone is not None:
            return self._anyone
        values = headers.getRawHeaders(b"authorization") or ()
        match = _BEARER.fullmatch(values[0].strip()) if len(values) == 1 else None
        given = hashlib.sha256(match[1] if match else b"").digest()
        # All are compared, each in constant time: how long it takes tells nothing.
        found = [client for known, client in self._clients if hmac.compare_digest(known, given)]
        if not match or not found:
            raise unauthorized()
        return found[0]

    def knows(self, headers: HeadersLike) -> bool:
        """Whether these are the headers of somebody who may ask."""
        try:
            self.client(headers)
        except ApiError:
            return False
        return True

    @property
    def limited(self) -> bool:
        """Whether there are limits, so that :meth:`enter` and :meth:`leave` matter."""
        return bool(self._streams or self._rate)

    def enter(self, client: Client) -> None:
        """Count one request of *client*; :meth:`leave` follows when it is over. Raises a 429."""
        if not self._ledger.enter(client.slot, self._streams):
            raise _too_many(f"This client has {self._streams} requests running, the most that it may have.", 1.0)
        if self._rate:
            wait = self._ledger.spend(client.slot, self._rate, _MINUTE, self._seconds())
            if wait:
                self._ledger.leave(client.slot)
                raise _too_many(f"This client may make {self._rate} requests a minute.", wait)

    def connect(self, client: Client, limit: int) -> bool:
        """Count one WebSocket of *client*; return whether it may have it. 0 is no limit."""
        return self._ledger.enter(client.sockets, limit)

    def disconnect(self, client: Client) -> None:
        """Count one WebSocket less."""
        self._ledger.leave(client.sockets)

    def leave(self, client: Client) -> None:
        """Count one request less."""
        self._ledger.leave(client.slot)

    def entry(self, client: Client) -> Entry:
        """Count one request of *client*, until it is over. Raises a 429."""
        self.enter(client)
        return Entry(self, client)


def slot_names(name: str) -> tuple[str, str]:
    """Return what the client *name* is called in the ledger: once for its requests, once for its WebSockets."""
    return name, f"{name} websockets"


def _counted(name: str, ledger: Ledger) -> Client:
    return Client(name, *map(ledger.client, slot_names(name)))


def unauthorized() -> ApiError:
    """Return the one answer to whoever has no valid token, whatever else is wrong with the request."""
    return ApiError(
        401,
        "A valid client token is needed, as Authorization: Bearer TOKEN.",
        code="invalid_api_key",
        kind=Kind.AUTH,
    )


def _too_many(text: str, wait: float) -> ApiError:
    return ApiError(
        429, text, type="rate_limit_error", code="rate_limit_exceeded", kind=Kind.RATE_LIMIT, retry_after=wait
    )
