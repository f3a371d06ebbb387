"""Which addresses a webhook may reach. Whoever may name an endpoint must not reach our own network through us.

What counts is the address that is connected to, whatever a name was resolved to before or is resolved to later: it is
looked at when the socket is made.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import TypeAlias

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]
"""As `socket.getaddrinfo` gives it."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_KNOWN_EVERYWHERE = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("3fff::/20"))
"""For protocols and for documentation: not every release of Python says so."""


class AddressRefused(OSError):
    """The endpoint's host has an address that is not for everybody."""

    def __init__(self) -> None:
        super().__init__("the host has a private or link-local address and is not in NPS_WEBHOOKS_PRIVATE_HOSTS")


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's on the internet; also of IPv4 inside IPv6, in each of its forms."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    if any(ip in network for network in _NOT_KNOWN_EVERYWHERE):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def public_sockets(address_info: AddressInfo) -> socket.socket:
    """Make a socket for a public address; AddressRefused for any other. For aiohttp's connector."""
    family, kind, protocol, _, address = address_info
    if not is_public(str(address[0])):
        raise AddressRefused
    return socket.socket(family, kind, protocol)


def socket_factory(private_allowed: bool) -> Callable[[AddressInfo], socket.socket] | None:
    """Return what a connector makes sockets with; None: any address may be reached."""
    return None if private_allowed else public_sockets
