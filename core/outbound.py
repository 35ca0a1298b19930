"""The outbound gate: every host or URL that a user can enter is resolved, judged and pinned here before we connect."""

import ipaddress
import socket
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError


@dataclass(frozen=True)
class Target:
    """A host that may be connected to: use `address`, so that a second look-up cannot answer something else."""

    host: str
    address: str
    port: int


def resolve(host: str, port: int, field: str = "host") -> Target:
    """The first permitted address of `host`. Raises ValidationError, naming `field` and the fix."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValidationError({field: f"{host!r} does not resolve: check its spelling or the name server."}) from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if _permitted(host, address, port):
            return Target(host, address, port)
    raise ValidationError(
        {field: f"{host} is {addresses[0]}, a private address: the operator can allow it in NETOPS_OUTBOUND_ALLOW."}
    )


def _permitted(host: str, text: str, port: int) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_global and not address.is_multicast:
        return True
    return any(_matches(entry, host, address, port) for entry in settings.OUTBOUND_ALLOW)


def _matches(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> bool:
    """An entry is a host name, an address or a network, with `:port` behind it to allow that port alone."""
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and not name.endswith(":") and (":" not in name or name.startswith("[")):
        if int(wanted) != port:
            return False
        entry = name.strip("[]")
    if entry == host:
        return True
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
