"""Which addresses are on the public internet, so that nobody can make the bridge look into its own network."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from chatbridge.protocol.errors import ApiError

PORTS = (80, 443)

# Addresses that carry an IPv4 address, and how far it stands from their end in bits.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
# All of IPv6 that is given out for the public internet; what else there is are special purposes, and much is no more
# than reserved, as ::ffff:0:0:0/96, by which some routers mean IPv4 addresses.
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
# What ``is_global`` of some Python versions lets pass.
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "3fff::/20",
    )
]  # fmt: skip


def is_public(text: str) -> bool:
    """Whether *text* is an address on the public internet, also the IPv4 address inside an IPv6 one."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(str(inner))
        if address not in _GIVEN_OUT:
            return False
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def page_address(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a page that may be fetched. Raises :class:`ApiError` for any other address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ApiError(400, "this is no address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ApiError(400, "only http and https addresses can be opened")
    if "@" in parts.netloc:
        raise ApiError(400, "an address with a user name or password is not opened")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in PORTS:
        raise ApiError(400, f"port {port} is not opened")
    if ":" not in host and not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        # Python's resolver fails on such a name in a way that Twisted's never tells of.
        raise ApiError(400, "this is no name of a host")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ApiError(400, "the address holds characters that must be encoded")
    return parts.scheme, host, port
