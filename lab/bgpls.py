"""BGP-LS encoding: NLRI and attribute TLVs (RFC 9552, 8571, 9085) in BGP UPDATEs (RFC 4271)."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from lab.topology import Link, Router

AFI, SAFI = 16388, 71
MAX_MESSAGE = 4096
PROTOCOL_ISIS_L2 = 2
NODE_NLRI, LINK_NLRI, IPV4_PREFIX_NLRI = 1, 2, 3
ORIGIN, AS_PATH, LOCAL_PREF, MP_REACH, MP_UNREACH, BGP_LS = 1, 2, 5, 14, 15, 29
OPTIONAL, TRANSITIVE, EXTENDED = 0x80, 0x40, 0x10
ADJACENCY_SID_FLAGS = 0x30  # the SID is a value (V), of local meaning (L): an MPLS label


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value


def node_nlri(asn: int, router: Router) -> bytes:
    return _nlri(NODE_NLRI, _node_descriptors(256, asn, router))


def link_nlri(asn: int, local: Router, remote: Router, address: IPv4Address, neighbour: IPv4Address) -> bytes:
    """The half-link from ``local`` to ``remote``."""
    nodes = _node_descriptors(256, asn, local) + _node_descriptors(257, asn, remote)
    return _nlri(LINK_NLRI, nodes + tlv(259, address.packed) + tlv(260, neighbour.packed))


def prefix_nlri(asn: int, router: Router, prefix: IPv4Network) -> bytes:
    octets = prefix.network_address.packed[: (prefix.prefixlen + 7) // 8]
    reachability = tlv(265, bytes([prefix.prefixlen]) + octets)
    return _nlri(IPV4_PREFIX_NLRI, _node_descriptors(256, asn, router) + reachability)


def node_attributes(router: Router) -> bytes:
    return tlv(1026, router.name.encode()) + tlv(1028, router.loopback.packed)


def link_attributes(link: Link, local: Router, remote: Router, label: int) -> bytes:
    return (
        tlv(1028, local.loopback.packed)
        + tlv(1030, remote.loopback.packed)
        + tlv(1089, struct.pack("!f", link.bandwidth / 8))
        + tlv(1092, struct.pack("!I", link.te_metric))
        + tlv(1095, link.igp_metric.to_bytes(3))
        + tlv(1099, struct.pack("!BBH", ADJACENCY_SID_FLAGS, 0, 0) + label.to_bytes(3))
        + tlv(1114, struct.pack("!I", link.delay_us))
    )


def prefix_attributes(metric: int) -> bytes:
    return tlv(1155, struct.pack("!I", metric))


def updates(table: Mapping[bytes, bytes], next_hop: IPv4Address) -> Iterator[bytes]:
    """UPDATE messages that announce a table of NLRI -> attributes; NLRI of equal attributes share messages."""
    groups: dict[bytes, list[bytes]] = defaultdict(list)
    for nlri, attributes in table.items():
        groups[attributes].append(nlri)
    reach = struct.pack("!HBB4sB", AFI, SAFI, 4, next_hop.packed, 0)
    for attributes, nlris in groups.items():
        rest = (
            _path_attribute(TRANSITIVE, ORIGIN, b"\x00")
            + _path_attribute(TRANSITIVE, AS_PATH, b"")
            + _path_attribute(TRANSITIVE, LOCAL_PREF, struct.pack("!I", 100))
            + _path_attribute(OPTIONAL, BGP_LS, attributes)
        )
        for chunk in _chunks(nlris, MAX_MESSAGE - 64 - len(rest)):
            yield _update(_path_attribute(OPTIONAL, MP_REACH, reach + chunk) + rest)


def withdrawals(nlris: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in _chunks(nlris, MAX_MESSAGE - 64):
        yield _update(_path_attribute(OPTIONAL, MP_UNREACH, struct.pack("!HB", AFI, SAFI) + chunk))


def end_of_rib() -> bytes:
    """RFC 4724: an UPDATE that withdraws nothing."""
    return _update(_path_attribute(OPTIONAL, MP_UNREACH, struct.pack("!HB", AFI, SAFI)))


def message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def _nlri(kind: int, descriptors: bytes) -> bytes:
    return tlv(kind, struct.pack("!BQ", PROTOCOL_ISIS_L2, 0) + descriptors)


def _node_descriptors(kind: int, asn: int, router: Router) -> bytes:
    return tlv(kind, tlv(512, struct.pack("!I", asn)) + tlv(515, router.system_id))


def _path_attribute(flags: int, kind: int, value: bytes) -> bytes:
    if len(value) > 255:
        return struct.pack("!BBH", flags | EXTENDED, kind, len(value)) + value
    return struct.pack("!BBB", flags, kind, len(value)) + value


def _update(attributes: bytes) -> bytes:
    return message(2, struct.pack("!HH", 0, len(attributes)) + attributes)


def _chunks(nlris: Iterable[bytes], size: int) -> Iterator[bytes]:
    chunk = b""
    for nlri in nlris:
        if chunk and len(chunk) + len(nlri) > size:
            yield chunk
            chunk = b""
        chunk += nlri
    if chunk:
        yield chunk
