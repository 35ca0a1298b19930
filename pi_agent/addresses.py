"""This machine's interfaces and their addresses, asked of the kernel by rtnetlink (RFC 3549)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from pi_agent.registration import MAX_ADDRESSES, MAX_INTERFACES, Interface

_GETLINK, _GETADDR, _DONE, _ERROR = 18, 22, 3, 2
_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=4xiI4x")
_IFADDR = struct.Struct("=4xI")
_IFLA_ADDRESS, _IFLA_IFNAME, _IFA_ADDRESS, _IFA_LOCAL = 1, 3, 1, 2
_IFF_LOWER_UP = 0x10000


def interfaces() -> tuple[Interface, ...]:
    """All of them, those without addresses too; as many as a registration holds. Raises OSError."""
    addresses = _addresses()
    found = []
    for index, name, flags, hardware in _links():
        mac = hardware.hex(":") if len(hardware) == 6 and any(hardware) else ""
        known = tuple(addresses.get(index, ())[:MAX_ADDRESSES])
        found.append(Interface(name, bool(flags & _IFF_LOWER_UP), mac, known))
    return tuple(found[:MAX_INTERFACES])


def interface_addresses() -> dict[str, list[str]]:
    """{"eth0": ["20.0.0.2", "fe80::1"]}; an interface without addresses has an empty list. Raises OSError."""
    addresses = _addresses()
    return {name: addresses.get(index, []) for index, name, _, _ in _links()}


def _links() -> Iterator[tuple[int, str, int, bytes]]:
    """(index, name, flags, hardware address) of each interface."""
    for message in _dump(_GETLINK, _IFINFO.size):
        index, flags = _IFINFO.unpack_from(message)
        attributes = _attributes(message[_IFINFO.size :])
        name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode(errors="replace")
        yield index, name, flags, attributes.get(_IFLA_ADDRESS, b"")


def _addresses() -> dict[int, list[str]]:
    """By interface index: IFA_LOCAL first, for on point-to-point links IFA_ADDRESS is the peer."""
    result: dict[int, list[str]] = {}
    for message in _dump(_GETADDR, _IFADDR.size):
        attributes = _attributes(message[_IFADDR.size :])
        if address := attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS):
            index = _IFADDR.unpack_from(message)[0]
            result.setdefault(index, []).append(str(ipaddress.ip_address(address)))
    return result


def _dump(request: int, size: int) -> Iterator[bytes]:
    """The bodies of the answers to a dump request whose own body has `size` bytes."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(5)
        kernel.send(_HEADER.pack(_HEADER.size + size, request, _REQUEST_DUMP, 1, 0) + bytes(size))
        while True:
            messages = kernel.recv(65536)
            while messages:
                length, kind, *_ = _HEADER.unpack_from(messages)
                if kind in (_DONE, _ERROR):
                    return
                yield messages[_HEADER.size : length]
                messages = messages[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[max(4, (length + 3) & ~3) :]
    return found
