"""Which HTTP proxy stands before an upstream: one of its own, or the environment's."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from chatbridge.service.secret import Secret
from chatbridge.web.guard import is_loopback

NONE = "none"
"""The word for no proxy, whatever the environment says."""
_PORTS = {"http": 80, "https": 443}


class ProxyURLError(Exception):
    """An address that is no proxy's. The text does not repeat it: it may hold a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy that is asked to ``CONNECT``; *tls* when it is spoken to with TLS itself."""

    host: str
    port: int
    tls: bool = False
    authorization: Secret = field(default_factory=lambda: Secret(""))
    """The Proxy-Authorization header's value; empty sends none."""

    @property
    def name(self) -> str:
        """Host and port, for texts."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_proxy(url: str) -> Proxy | None:
    """Return the proxy at *url*, None for ``none``. A user name and password become its authorization."""
    if url.strip().lower() == NONE:
        return None
    url = url.strip()
    if "://" not in url:
        url = "http://" + url  # as curl and the others take it
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or not host.isascii() or not host.isprintable() or " " in host:
        raise ProxyURLError("is not a proxy's address, as http://HOST:PORT, or none")
    if parts.scheme not in _PORTS:
        raise ProxyURLError(f"a proxy of the kind {parts.scheme[:20]!r} is not known; http and https are")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyURLError("a proxy's address ends with its port")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(
        host=host, port=port or _PORTS[parts.scheme], tls=parts.scheme == "https", authorization=Secret(authorization)
    )


def proxy_from(environ: Mapping[str, str], upstream_url: str) -> tuple[str, Proxy | None]:
    """Return the proxy that *environ* names for *upstream_url*, and the variable that did; nothing for none.

    The lower-case names go before the upper-case ones, ``HTTPS_PROXY`` and ``HTTP_PROXY`` before ``ALL_PROXY``.
    ``NO_PROXY`` lists hosts (with a port or not), domains and networks (``10.0.0.0/8``) that do without, ``*`` is all.
    An upstream on this
    machine does without too, unless the proxy is on this machine: another one could not reach it.
    Raises :exc:`ProxyURLError`.
    """
    parts = urlsplit(upstream_url)
    host = parts.hostname or ""
    names = [name for kind in (parts.scheme, "all") for name in (f"{kind}_proxy", f"{kind}_PROXY".upper())]
    name = next((name for name in names if environ.get(name, "").strip()), "")
    refused = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not name or _refused(host, parts.port or _PORTS.get(parts.scheme, 0), refused):
        return "", None
    try:
        proxy = read_proxy(environ[name])
    except ProxyURLError as error:
        raise ProxyURLError(f"{name}: {error}") from None
    if proxy is None or (is_loopback(host) and not is_loopback(proxy.host)):
        return "", None
    return name, proxy


def _refused(host: str, port: int, words: str) -> bool:
    """Whether ``NO_PROXY`` names *host*: as itself, as one below a domain, or as an address within a network."""
    name = host.lower().rstrip(".")
    for given in re.split(r"[,\s]+", words.lower()):
        word = given.removesuffix(f":{port}") if given.count(":") == 1 or "]:" in given else given
        if word == "*" or (word and f".{name}".endswith("." + word.lstrip("*").lstrip("."))):
            return True
        try:
            if ipaddress.ip_address(name) in ipaddress.ip_network(word.strip("[]"), strict=False):
                return True
        except ValueError:  # a name, not an address
            continue
    return False
