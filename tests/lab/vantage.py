"""Runs inside a node of the lab as its agent: sends walks (UDP in layers of GRE) and reports what comes back.

One JSON request a line on a Unix socket, one answer a line. {"walks": [[hop, ...], ...], "expected": [bool, ...]}
sends one datagram per walk, innermost to ourselves, waits for the expected ones and then until nothing more comes, and
answers [rtt in seconds or null, ...]. {"raw": hex} sends one packet.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

PORT = 3000
HANG = 10.0
QUIET = 0.15
GRE = struct.pack("!HH", 0, 0x0800)


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    fields = [0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(target)]
    fields[7] = checksum(struct.pack("!BBHHHBBH4s4s", *fields))
    return struct.pack("!BBHHHBBH4s4s", *fields) + payload


def walk(source: str, hops: list[str], payload: bytes) -> bytes:
    """From ``source`` over all hops, each unwrapping one layer, and back."""
    packet = ipv4(source, source, 17, struct.pack("!HHHH", PORT, PORT, 8 + len(payload), 0) + payload)
    for hop in reversed(hops):
        packet = ipv4(source, hop, 47, GRE + packet)
    return packet


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.0.1", 9))
        return str(probe.getsockname()[0])


class Vantage:
    def __init__(self) -> None:
        self.address = own_address()
        self.out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.back = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.back.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.run = 0

    def send(self, packet: bytes) -> None:
        self.out.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))

    def walks(self, walks: list[list[str]], expected: list[bool]) -> list[float | None]:
        self.run += 1
        sent, rtts = [], [None] * len(walks)  # type: list[float], list[float | None]
        for number, hops in enumerate(walks):
            sent.append(time.monotonic())
            self.send(walk(self.address, hops, struct.pack("!II", self.run, number)))
        deadline = time.monotonic() + HANG
        while None in rtts:
            waiting = any(wanted and rtt is None for wanted, rtt in zip(expected, rtts, strict=True))
            patience = deadline - time.monotonic() if waiting else QUIET
            if patience <= 0 or not select.select([self.back], [], [], patience)[0]:
                break
            packet, address = self.back.recvfrom(65535)
            if address[2] == socket.PACKET_OUTGOING or packet[9] != 17 or packet[22:24] != struct.pack("!H", PORT):
                continue
            run, number = struct.unpack_from("!II", packet, 28)
            if run == self.run:
                rtts[number] = time.monotonic() - sent[number]
        return rtts


def main() -> None:
    vantage = Vantage()
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen()
    while True:
        connection, _ = server.accept()
        with connection, connection.makefile("rw") as stream:
            request = json.loads(stream.readline())
            if "raw" in request:
                vantage.send(bytes.fromhex(request["raw"]))
                answer: object = None
            else:
                answer = vantage.walks(request["walks"], request["expected"])
            stream.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
