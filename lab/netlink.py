"""The five rtnetlink messages a lab needs (RFC 3549, linux/rtnetlink.h).

By hand because importing pyroute2 alone takes more memory (26 MB) than the whole lab process may.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
NLMSG_ERROR = 2
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 20, 24, 25
IFF_UP = 1
IFLA_MTU = 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_GATEWAY, RTA_MULTIPATH = 1, 5, 9
RT_TABLE_MAIN, RTPROT_ISIS, RTN_UNICAST = 254, 187, 1

NextHop = tuple[IPv4Address, int]
"""Gateway address and index of the interface that leads to it."""


class Rtnetlink:
    """Speaks to the network namespace the process is in when this is made. Every call raises OSError if refused."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sequence = 0

    def link_set(self, index: int, *, up: bool, mtu: int | None = None) -> None:
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP)
        self._request(RTM_NEWLINK, 0, body + (_attribute(IFLA_MTU, struct.pack("=I", mtu)) if mtu else b""))

    def address_add(self, index: int, address: IPv4Interface) -> None:
        body = struct.pack("=BBBBI", socket.AF_INET, address.network.prefixlen, 0, 0, index)
        packed = address.ip.packed
        self._request(RTM_NEWADDR, NLM_F_CREATE, body + _attribute(IFA_LOCAL, packed) + _attribute(IFA_ADDRESS, packed))

    def route_replace(self, prefix: IPv4Network, hops: Iterable[NextHop]) -> None:
        """Install an equal-cost route over all hops."""
        nexthops = b""
        for gateway, index in sorted(hops):
            via = _attribute(RTA_GATEWAY, gateway.packed)
            nexthops += struct.pack("=HBBi", 8 + len(via), 0, 0, index) + via
        self._request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _route(prefix) + _attribute(RTA_MULTIPATH, nexthops))

    def route_delete(self, prefix: IPv4Network) -> None:
        self._request(RTM_DELROUTE, 0, _route(prefix))

    def _request(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        flags |= NLM_F_REQUEST | NLM_F_ACK
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        answer = self._socket.recv(4096)
        kind, code = struct.unpack_from("=4xH10xi", answer)
        if kind == NLMSG_ERROR and code:
            raise OSError(-code, os.strerror(-code))


def _route(prefix: IPv4Network) -> bytes:
    header = (socket.AF_INET, prefix.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_ISIS, 0, RTN_UNICAST, 0)
    return struct.pack("=BBBBBBBBI", *header) + _attribute(RTA_DST, prefix.network_address.packed)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
