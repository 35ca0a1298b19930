"""Packets as the server compiles them, built by hand: the agent's tests need neither Scapy nor the server."""

from __future__ import annotations

import socket
import struct

from pi_agent.prober.plan import PAYLOAD, Walk

AGENT = "20.0.0.2"
HOPS = ("10.1.1.1", "10.1.1.5")
PORT = 3000


def checksum(header: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol: int, source: str, destination: str, body: bytes, options: bytes = b"") -> bytes:
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        20 + len(options) + len(body),
        1,
        0,
        64,
        protocol,
        0,
        socket.inet_aton(source),
        socket.inet_aton(destination),
    )
    head += options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp(port: int = PORT, body: bytes = bytes(PAYLOAD.size), check: int = 0) -> bytes:
    return struct.pack("!HHHH", 40000, port, 8 + len(body), check) + body


def template(agent: str = AGENT, hops: tuple[str, ...] = HOPS, port: int = PORT, options: bytes = b"") -> bytes:
    """UDP from the agent to itself, in one GRE layer per hop."""
    packet = ipv4(17, agent, agent, udp(port), options)
    for hop in reversed(hops):
        packet = ipv4(47, agent, hop, b"\x00\x00\x08\x00" + packet)
    return packet


def walk(
    number: int = 1,
    rate: float = 50,
    agent: str = AGENT,
    hops: tuple[str, ...] = HOPS,
    port: int = PORT,
) -> Walk:
    packet = template(agent, hops, port)
    return Walk(number, rate, packet, len(packet) - PAYLOAD.size)
