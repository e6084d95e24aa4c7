"""What an option's text means: each function returns its value, or raises :exc:`twisted.python.usage.UsageError`."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from twisted.python import usage

from chatbridge.service.secret import Secret
from chatbridge.upstream.keys import Key

_KEY_LIMIT = 64 * 1024
_TOKEN_LENGTH = 16
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_POSTGRES = re.compile(r"(postgres(?:ql)?://)(?:([^:@/?]*)(?::([^@]*))?@)?([^@]*)")
_OWN_HEADERS = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "authorization",
     "cookie", "upgrade", "te", "trailer", "expect")
)  # fmt: skip
"""These are the bridge's own business; a client's Authorization is its token."""


def header_name(name: str, where: str = "--forward-header") -> str:
    """Return a header's name in lower case, which must be none of the bridge's own; *where* is for the error."""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in _OWN_HEADERS:
        raise usage.UsageError(f"{where}: {name!r} is not the name of a header that can be chosen")
    return name.lower()


def header_value(value: str, where: str) -> str:
    """Return *value*, which must be printable ASCII; it is not repeated in the error, since it may be a secret."""
    if not value.isascii() or not value.isprintable():
        raise usage.UsageError(f"{where}: a header's value contains a character that cannot stand in an HTTP header")
    return value


# What means something in an endpoint description.
ESCAPES = str.maketrans({"\\": "\\\\", ":": "\\:", "=": "\\="})


def listen_host(host: str | None) -> str:
    """Return the address to listen on, an IPv6 one without brackets."""
    if host is None:
        return "127.0.0.1"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not bare.isprintable() or re.search(r"[\s/\[\]]", bare):
        raise usage.UsageError(f"--host: {host!r} is not an address")
    if ":" in bare:
        _ipv6("--host", bare)
    return bare


def _ipv6(option: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise usage.UsageError(f"{option}: {host!r} is not an IPv6 address") from None


def chat_url(url: str) -> str:
    """Return the full address of chat/completions."""
    parts = _split_url(url)
    path = parts.path.rstrip("/")
    if not path:
        path = "/v1"
    if re.search(r"/v[0-9]+$", path):
        path += "/chat/completions"
    other = re.search(r"/(responses|messages)$", path)
    if other:
        raise usage.UsageError(
            f"--upstream-url: ends in /{other[1]}, but chatbridge asks upstreams for chat/completions; give that one"
        )
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def search_url(url: str | None) -> str:
    """Return the address of a search engine, empty for None."""
    return "" if not url else urlunsplit(_split_url(url, "--search-url"))


def _split_url(url: str, option: str = "--upstream-url") -> SplitResult:
    # The address itself is not repeated in what is said: it may hold a password or a key.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise usage.UsageError(f"{option}: contains a character that cannot stand in an address")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise usage.UsageError(f"{option}: must be http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    if "@" in parts.netloc:
        hint = "; see --api-key-env" if option == "--upstream-url" else ""
        raise usage.UsageError(f"{option}: must not hold a user name or password{hint}")
    return parts


def key_in_variable(
    name: str, environ: Mapping[str, str], option: str = "--api-key-env", *, missing: str = ""
) -> Secret:
    """Return the key in the variable *name*; *missing* begins what is said when there is none."""
    """Return the key that the variable *name* holds."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        # Not repeated in the text: people paste the key itself.
        raise usage.UsageError(f"{option}: takes the name of an environment variable, not the key itself")
    key = environ.get(name, "").strip()
    if not key:
        raise usage.UsageError(
            f"{missing}missing or empty env var: {name} (an upstream on this machine may do without: --no-api-key; "
            "to try things out: --practice)"
        )
    return _secret(f"env var {name}", key)


def in_credentials(option: str, path: str, environ: Mapping[str, str]) -> str:
    """Return *path*; ``$CREDENTIALS_DIRECTORY`` at its beginning is where systemd put the service's credentials."""
    match = re.match(r"\$(?:CREDENTIALS_DIRECTORY|\{CREDENTIALS_DIRECTORY\})(?=/)", path)
    if match is None:
        return path
    folder = environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise usage.UsageError(f"{option}: {path}: there are no credentials; the service needs a LoadCredential=")
    return folder + path[match.end() :]


def keys_in_file(path: str) -> tuple[Key, ...]:
    """Return the keys in a file, one a line; empty lines and those that begin with ``#`` do not count."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            lines = file.read(_KEY_LIMIT).splitlines()
    except (OSError, ValueError) as error:  # also for a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise usage.UsageError(f"--api-key-file: {path}: {reason}") from None
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()[:1] not in ("", "#")]
    if not found:
        raise usage.UsageError(f"--api-key-file: {path}: the file is empty")
    several = len(found) > 1
    return tuple(
        Key(f"{path}:{number}" if several else path, _secret(f"--api-key-file: {path}", key)) for number, key in found
    )


def _secret(where: str, key: str) -> Secret:
    if not key.isascii() or not key.isprintable():
        raise usage.UsageError(f"{where}: the key contains a character that cannot stand in an HTTP header")
    return Secret(key)


def token(name: str, environ: Mapping[str, str]) -> str:
    """Return the client token that the variable *name* holds."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise usage.UsageError("--client-token-env: takes the name of an environment variable, not the token itself")
    token = environ.get(name, "").strip()
    if len(token) < _TOKEN_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise usage.UsageError(
            f"--client-token-env: {name} must hold a token of at least {_TOKEN_LENGTH} printable characters"
        )
    return token


def count(option: str, text: Any) -> int:
    """Return a whole number of at least 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise usage.UsageError(f"{option}: {text!r} is not a whole number of at least 0")
    return int(text)


def seconds(option: str, text: Any, *, zero: bool = True) -> float:
    """Return a finite number of seconds; 0 only with *zero*."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise usage.UsageError(f"{option}: {text!r} is not a number of seconds{'' if zero else ' above 0'}")
    return value


def size(option: str, text: Any) -> int:
    """Return a number of bytes above 0; ``k``, ``M`` and ``G`` are powers of 1024."""
    match = re.fullmatch(r"([0-9]{1,15})([kKmMgG]?)", text)
    value = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if value <= 0:
        raise usage.UsageError(f"{option}: {text!r} is not a number of bytes (as 1000000, 512k, 32M or 1G)")
    return value


def one_of(option: str, text: str, words: Sequence[str]) -> str:
    """Return *text*, which must be one of *words*."""
    if text not in words:
        raise usage.UsageError(f"{option}: {text!r} is none of {', '.join(words)}")
    return text


def store(option: str, text: str) -> tuple[str, Secret]:
    """Return the place of the store, which must be one of the known kinds, and the password that its URL holds."""
    if text in ("memory", "none") or (text.startswith("sqlite:///") and len(text) > len("sqlite:///")):
        return text, Secret("")
    match = _POSTGRES.fullmatch(text)
    if match is None:
        raise usage.UsageError(
            f"{option}: must be memory, none, sqlite:///PATH (an absolute one has four slashes) or "
            "postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    scheme, user, password, rest = match.groups()
    if re.search(r"[?&]password=", rest):
        raise usage.UsageError(f"{option}: the password stands before the host, in PGPASSWORD or in ~/.pgpass")
    return scheme + (f"{user}@" if user else "") + rest, Secret(unquote(password or ""))


def public_store(text: str) -> str:
    """Return the place of a store without its password."""
    return re.sub(r"(://[^:@/]*):[^@]*@", r"\1:<redacted>@", text)


def is_number(text: str) -> bool:
    """Return whether *text* is ASCII digits only."""
    return text.isascii() and text.isdigit()


def host_name_given(name: str) -> str:
    """Return a host name or address in lower case, an IPv6 one without brackets."""
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if ":" in bare:
        _ipv6("--allow-host", bare)
        return bare.lower()
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?", bare):
        raise usage.UsageError(f"--allow-host: {name!r} is not a host name (without scheme, port or path)")
    return bare.lower()


def web_origin(origin: str) -> str:
    """Return an origin in lower case, without a slash at its end."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?", origin) or not origin.isascii():
        raise usage.UsageError(
            f"--allow-origin: {origin!r} is not an origin, as https://example.org or http://HOST:PORT"
        )
    return origin.lower().rstrip("/")
