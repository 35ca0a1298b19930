"""GRE decapsulation in user space (RFC 2784): raw socket in, tun out, so inner packets face every kernel check."""

from __future__ import annotations

import socket

from lab.wire import tun_write

GRE_IPV4 = b"\x00\x00\x08\x00"
"""No checksum, no key (RFC 2890), version 0, protocol type IPv4: the only header we accept."""

_buffer = bytearray(65536)
_view = memoryview(_buffer)


def inner_packet(packet: memoryview) -> memoryview | None:
    """The IPv4 packet inside an IPv4 GRE packet, or None if it is anything else."""
    start = (packet[0] & 15) * 4 if packet else 0
    if packet[start : start + 4] != GRE_IPV4 or len(packet) < start + 24 or packet[start + 4] >> 4 != 4:
        return None
    return packet[start + 4 :]


class Decapsulator:
    """Unwraps GRE that is addressed to one node."""

    def __init__(self, raw: socket.socket, tun: int) -> None:
        self.raw, self.tun = raw, tun
        self.packets = 0
        self.dropped = 0

    def forward(self) -> None:
        """Carry one packet."""
        try:
            length = self.raw.recv_into(_buffer)
        except OSError:
            return
        self.packets += 1
        inner = inner_packet(_view[:length])
        if inner is None or not tun_write(self.tun, inner):
            self.dropped += 1
