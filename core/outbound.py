"""The outbound gate: every host or URL that a user can enter is resolved, judged and pinned here before we connect."""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_BYTES, TIMEOUT_S = 10_000_000, 20.0
_PORTS = {"http": 80, "https": 443}
# Where clouds hand out credentials: open only to an entry that is exactly one of these.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"],
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# IPv4 inside IPv6: compatible (RFC 4291) and through a translator (RFC 6052).
_HOLDS_IPV4 = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))


class FetchError(Exception):
    """A request that was permitted failed; the text is one sentence for the user."""


@dataclass(frozen=True)
class Answer:
    """`headers` by lower-case name; `body` is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    max_bytes: int = MAX_BYTES,
    timeout: float = TIMEOUT_S,
    field: str = "url",
) -> Answer:
    """One HTTP request to a URL that a user entered: at most `max_bytes` of body, at most `timeout` seconds in all.

    Any status but a redirect is an answer. Raises ValidationError, naming `field`, for a URL that may not be asked,
    and FetchError.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    known = host and port and parts.scheme in _PORTS
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise ValidationError({field: "Enter an address that starts with https:// or http:// and names a host."})
    if "@" in parts.netloc:
        raise ValidationError({field: "Leave user name and password out of the address: they belong in a token."})
    # httpx costs a quarter of a second that only processes that fetch pay.
    from core.pinned import request

    return request(resolve(host, port, field), method, url, headers or {}, body, max_bytes, timeout)


def _permitted(host: str, text: str, port: int) -> bool:
    return all(_open(host, address, port) for address in _ends(ipaddress.ip_address(text)))


def _ends(address: Address) -> list[Address]:
    """Where a packet to `address` may come out: translators and tunnels are looked through."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if any(address in network for network in _HOLDS_IPV4) and int(address) > 1:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    tunnels = (address.sixtofour, *(address.teredo or ()))
    return [address, *(end for end in tunnels if end)]


def _open(host: str, address: Address, port: int) -> bool:
    if address in METADATA:
        return any(_port_of(entry, port) == str(address) for entry in settings.OUTBOUND_ALLOW)
    if address.is_global and not address.is_multicast and (address.version == 4 or address in _GLOBAL_UNICAST):
        return True
    return any(_matches(entry, host, address, port) for entry in settings.OUTBOUND_ALLOW)


def _port_of(entry: str, port: int) -> str:
    """What stands before an entry's `:port`, empty where that is another port."""
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and not name.endswith(":") and (":" not in name or name.startswith("[")):
        return name.strip("[]") if int(wanted) == port else ""
    return entry.strip("[]")


def _matches(entry: str, host: str, address: Address, port: int) -> bool:
    """An entry is a host name, an address or a network, with `:port` behind it to allow that port alone."""
    entry = _port_of(entry, port)
    if not entry:
        return False
    if entry.lower() == host.lower():
        return True
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
