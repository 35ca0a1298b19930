"""Probe packets as templates: what the edge sends, bar the 20 bytes it patches for each probe.

A probe is UDP in IPv4 in one GRE layer (RFC 2784) per pinned hop. Every hop decapsulates and forwards what was
inside, so the packet visits the hops in order and ends at its own sender. Scapy builds each shape (number of layers)
once, which costs milliseconds; a walk then only patches addresses and header checksums into a copy.

Layout: `layers` times (IPv4 20 B + GRE 4 B), IPv4 20 B, UDP 8 B, payload 24 B. TTL 64, don't fragment, UDP checksum 0
(RFC 768 allows it on IPv4, and the payload changes with each probe).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pi_agent.prober.plan import MAGIC, PAYLOAD

IP_HEADER = 20
LAYER = 24
INNERMOST = IP_HEADER + 8 + PAYLOAD.size


class TemplateError(ValueError):
    """A walk that cannot be made into a packet; the text is one sentence for the user."""


@dataclass(frozen=True)
class Template:
    """A whole IPv4 packet and where its 24-byte payload starts (magic, prober nonce, walk id, sequence, time)."""

    packet: bytes
    payload_offset: int


def packet_size(layers: int) -> int:
    """Bytes of a probe with so many GRE layers, outer IPv4 header included."""
    return layers * LAYER + INNERMOST


def compile_walk(hops: Sequence[str], source: str, port: int, walk_id: int) -> Template:
    """The template of a probe that visits `hops` in order (one GRE layer each) and then returns to `source`.

    `hops` are IPv4 addresses, outermost first: `planning.walk_hops` or `planning.one_way_hops`. `port` is both UDP
    ports, `walk_id` goes into the payload; nonce, sequence and time stay zero. Raises TemplateError.
    """
    if not hops:
        raise TemplateError("A walk needs at least one hop to be probed.")
    sender = _address(source)
    packet = bytearray(_shape(len(hops), port))
    for layer, destination in enumerate([*map(_address, hops), sender]):
        _patch_header(packet, layer * LAYER, sender, destination)
    offset = packet_size(len(hops)) - PAYLOAD.size
    PAYLOAD.pack_into(packet, offset, MAGIC, 0, walk_id, 0, 0)
    return Template(bytes(packet), offset)


@lru_cache(maxsize=64)
def _shape(layers: int, port: int) -> bytes:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import GRE
    from scapy.packet import Raw

    packet = IP(flags="DF", ttl=64) / UDP(sport=port, dport=port, chksum=0) / Raw(bytes(PAYLOAD.size))
    for _ in range(layers):
        packet = IP(flags="DF", ttl=64) / GRE() / packet
    return bytes(packet)


def _patch_header(packet: bytearray, at: int, source: bytes, destination: bytes) -> None:
    """Addresses into the IPv4 header at this offset, and its checksum over them (RFC 791)."""
    packet[at + 10 : at + 12] = b"\0\0"
    packet[at + 12 : at + 20] = source + destination
    total = sum(struct.unpack_from("!10H", packet, at))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", packet, at + 10, total ^ 0xFFFF)


def _address(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise TemplateError(f"{text!r} is no IPv4 address; this probe style pins by IPv4 link addresses.") from None
