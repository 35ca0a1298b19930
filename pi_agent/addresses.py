"""The addresses of this machine's interfaces, asked of the kernel by rtnetlink (RFC 3549)."""

from __future__ import annotations

import ipaddress
import socket
import struct

_RTM_NEWADDR, _RTM_GETADDR, _DONE, _ERROR = 20, 22, 3, 2
_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")


def interface_addresses() -> dict[str, list[str]]:
    """{"eth0": ["20.0.0.2", "fe80::1"]}; an interface without addresses has an empty list."""
    result: dict[str, list[str]] = {name: [] for _, name in socket.if_nameindex()}
    names = dict(socket.if_nameindex())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(5)
        kernel.send(_HEADER.pack(_HEADER.size + 8, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + bytes(8))
        while True:
            messages = kernel.recv(65536)
            while messages:
                length, kind, *_ = _HEADER.unpack_from(messages)
                if kind in (_DONE, _ERROR):
                    return result
                if kind == _RTM_NEWADDR:
                    index, address = _parse(messages[_HEADER.size : length])
                    result.setdefault(names.get(index, str(index)), []).append(address)
                messages = messages[(length + 3) & ~3 :]


def _parse(message: bytes) -> tuple[int, str]:
    """(interface index, address): IFA_LOCAL first, for on point-to-point links IFA_ADDRESS is the peer."""
    index = struct.unpack_from("=4xI", message)[0]
    found: dict[int, bytes] = {}
    rest = message[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        found[kind] = rest[4:length]
        rest = rest[max(4, (length + 3) & ~3) :]
    return index, str(ipaddress.ip_address(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]))
