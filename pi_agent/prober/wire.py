"""The prober's sockets: templates go out by a raw socket, replies come in by a packet socket and a BPF filter.

The kernel would drop a reply, whose source is its own address, before any UDP socket saw it; a packet socket gets it
earlier, on every interface, whatever the link layer (SOCK_DGRAM strips it). Only CAP_NET_RAW is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time

from pi_agent.prober.plan import MAGIC, PAYLOAD

_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_TIMESPEC = struct.Struct("@ll")
_RECEIVE_BUFFER = 4 << 20
_LONGEST_REPLY = 60 + 8 + PAYLOAD.size

# Classic BPF, linux/filter.h
_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30
_LD_W_X, _LD_H_X, _LDX_IHL = 0x40, 0x48, 0xB1
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06


def open_transmit() -> socket.socket:
    """Takes whole IPv4 packets. Raises PermissionError without CAP_NET_RAW."""
    out = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    return out


def open_receive(port: int, nonce: int) -> socket.socket:
    """Gives, from the IPv4 header on, the replies of this prober only. Raises PermissionError as above."""
    into = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_IP))
    attach_filter(into, port, nonce)
    with contextlib.suppress(BlockingIOError):
        while into.recv(1):
            pass  # what came before the filter
    into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    with contextlib.suppress(PermissionError):  # above net.core.rmem_max takes CAP_NET_ADMIN
        into.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    into.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return into


def attach_filter(into: socket.socket, port: int, nonce: int) -> None:
    """IPv4 UDP to `port`, not a later fragment, with our magic and nonce; replaces an earlier filter."""
    checks = [
        (_LD_B, 9, _JEQ, socket.IPPROTO_UDP),
        (_LD_H, 6, _JSET, 0x1FFF),
        (_LD_H_X, 2, _JEQ, port),
        (_LD_W_X, 8, _JEQ, int.from_bytes(MAGIC)),
        (_LD_W_X, 12, _JEQ, nonce),
    ]
    code = [(_LDX_IHL, 0, 0, 0)]
    for number, (load, offset, jump, value) in enumerate(checks):
        to_drop = 2 * (len(checks) - number) - 1
        code += [(load, 0, 0, offset), (jump, *((to_drop, 0) if jump == _JSET else (0, to_drop)), value)]
    code += [(_RET, 0, 0, 0xFFFF), (_RET, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in code))
    into.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(code), ctypes.addressof(program)))


def receive(into: socket.socket) -> tuple[bytes, int]:
    """(packet, monotonic ns of its arrival). Raises BlockingIOError when there is none.

    The kernel stamps with the wall clock; only the packet's age is taken from that, so that a clock step can
    spoil no more than what waited in the socket while it happened.
    """
    packet, control, _, _ = into.recvmsg(_LONGEST_REPLY, 64)
    now = time.monotonic_ns()
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            age = time.time_ns() - seconds * 1_000_000_000 - nanoseconds
            if 0 <= age < 1_000_000_000:
                now -= age
    return packet, now


def parse(packet: bytes) -> tuple[int, int, int] | None:
    """(walk, sequence, transmit time) of a reply, None where the packet is too short for one."""
    try:
        _, _, walk, sequence, transmitted = PAYLOAD.unpack_from(packet, (packet[0] & 0xF) * 4 + 8)
    except struct.error:
        return None
    return walk, sequence, transmitted


def overruns(into: socket.socket) -> int:
    """How many replies the socket dropped, its buffer being full, since this was last asked."""
    _, drops = struct.unpack("=II", into.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(drops)
