"""Host and Origin: who may talk to a server on loopback.

A web page cannot open a raw socket, but it can make a browser send requests here. The browser then tells where they
come from (Origin, Sec-Fetch-Site), and with DNS rebinding the page's own name stands in Host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from chatbridge.protocol.errors import ApiError

if TYPE_CHECKING:
    from chatbridge.service.settings import Settings

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]\s/@]+))(?::[0-9]*)?", re.IGNORECASE)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOREIGN = frozenset({b"cross-site", b"same-site"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


class HeadersLike(Protocol):
    """What is needed of :class:`twisted.web.http_headers.Headers`."""

    def getRawHeaders(self, name: bytes, /) -> Sequence[bytes] | None:
        """Return all values of the header *name*, or None."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What is accepted besides loopback names: host names without port, and whole origins, in lower case."""

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        """Return the guard for *settings*; a specific address the server is bound to is a host of its own."""
        bound = bound_address(settings.listen)
        hosts = [*settings.allow_hosts, *([bound] if bound else [])]
        return cls(
            frozenset(name for name in map(host_name, hosts) if name),
            frozenset(map(_origin_key, settings.allow_origins)),
        )

    def admit(self, headers: HeadersLike, version: bytes) -> bytes | None:
        """Return the request's Origin if it has one; raises :class:`ApiError` when the request is refused.

        *version* is the HTTP version as in the request line.
        """
        self._check_host(headers, version)
        return self._check_origin(headers)

    def _check_host(self, headers: HeadersLike, version: bytes) -> None:
        values = headers.getRawHeaders(b"host") or ()
        if len(values) > 1:
            raise ApiError(400, "The request has two Host headers.", code="bad_host")
        if not values:
            if version == b"HTTP/1.1":
                raise ApiError(400, "The request has no Host header.", code="bad_host")
            return  # HTTP/1.0 need not have one, and no browser speaks it
        if not _is_own(values[0], self.hosts):
            message = "The name in the Host header is not one of this server's; --allow-host NAME adds one."
            raise ApiError(403, message, code="host_not_allowed")

    def _check_origin(self, headers: HeadersLike) -> bytes | None:
        values = headers.getRawHeaders(b"origin") or ()
        if not values:
            _check_fetch_site(headers)
            return None
        if len(values) > 1 or _origin_key(values[0].decode("latin-1")) not in self.origins:
            raise _foreign()
        return values[0]


def _check_fetch_site(headers: HeadersLike) -> None:
    """Refuse what a page makes a browser fetch without an Origin header: images, scripts, links."""
    values = headers.getRawHeaders(b"sec-fetch-site")
    if values and not _FOREIGN.isdisjoint(values):
        raise _foreign()


def _foreign() -> ApiError:
    message = "Web pages may not use this server; --allow-origin ORIGIN admits those of one origin."
    return ApiError(403, message, code="origin_not_allowed")


@lru_cache(256)  # each request asks, mostly for the same
def _is_own(host: bytes, hosts: frozenset[str]) -> bool:
    """Whether *host*, as a header has it, can only be this machine, or is one of *hosts*."""
    name = host_name(host.decode("latin-1"))
    return name is not None and (name in hosts or is_loopback(name))


@lru_cache(256)
def host_name(host: str) -> str | None:
    """Return the name or address in *host* in one spelling: no port, no brackets, lower case. None if it is neither."""
    host = host.strip()
    match = _HOST.fullmatch(host)
    name = (match[1] or match[2]) if match else host
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return match[2].lower().removesuffix(".") or None if match and match[2] else None


@lru_cache(256)
def is_loopback(name: str) -> bool:
    """Whether *name*, as :func:`host_name` spells it, can only be this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def bound_address(listen: str) -> str | None:
    r"""Return the specific address in a Twisted endpoint description, or None.

    ``tcp:8787:interface=192.0.2.1`` gives ``192.0.2.1``, ``tcp:8787:interface=\:\:1`` gives ``::1``.
    """
    fields = [re.sub(r"\\(.)", r"\1", field) for field in re.findall(r"(?:\\.|[^:\\])+", listen)]
    if not fields or fields.pop(0) not in {"tcp", "tcp6", "ssl", "tls"}:
        return None
    positional = [field for field in fields if "=" not in field]
    named = [field.removeprefix("interface=") for field in fields if field.startswith("interface=")]
    address = (named or positional[1:2] or [""])[0]
    return None if address in _WILDCARDS else address


def listen_address(listen: str) -> str | None:
    """Return the address that an endpoint description listens on; None where it cannot be told before it does.

    That is a name, which may be any address, a UNIX socket, and a socket that somebody else opened.
    """
    if listen.partition(":")[0] not in {"tcp", "tcp6", "ssl", "tls"}:
        return None
    address = bound_address(listen) or ("::" if listen.startswith("tcp6:") else "0.0.0.0")  # noqa: S104 - told, not bound to
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return address


def cors_headers(origin: bytes) -> dict[bytes, bytes]:
    """Return the response headers that let a page of *origin* read the answer."""
    return {b"access-control-allow-origin": origin, b"vary": b"Origin"}


def preflight_headers(headers: HeadersLike) -> dict[bytes, bytes] | None:
    """Return what a browser's question before the real request is answered with; None if it is no such question."""
    if not headers.getRawHeaders(b"access-control-request-method"):
        return None
    asked = b",".join(headers.getRawHeaders(b"access-control-request-headers") or ()).lower().split(b",")
    legal = [name for name in (part.strip() for part in asked) if _TOKEN.fullmatch(name)]
    answer = {
        b"access-control-allow-methods": b"GET, POST",
        b"access-control-allow-headers": b", ".join(dict.fromkeys([b"authorization", b"content-type", *legal])),
        b"access-control-max-age": b"600",
    }
    if headers.getRawHeaders(b"access-control-request-private-network"):
        answer[b"access-control-allow-private-network"] = b"true"
    return answer


def _origin_key(origin: str) -> str:
    return origin.strip().lower().rstrip("/")
