"""Tests with real packets: each in a user and network namespace of its own, beside a router made of a tun device."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import importlib
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pi_agent.prober.plan import PAYLOAD, Plan, Walk
from pi_agent.prober.report import Record, Report, decode
from tests.pi_agent import packets

ROOT = Path(__file__).parents[2]
AGENT = "20.0.0.2"
HOPS = ("20.1.0.1", "20.2.0.1")
DEADLINE = 40

_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x891C, 0x8914, 0x41

Probe = tuple[int, int]
"""Walk and sequence."""


@functools.cache
def why_not() -> str | None:
    """Why there can be no namespaces here, None if there can."""
    if not shutil.which("unshare"):
        return "the program unshare is missing (Debian package util-linux)"
    done = subprocess.run(["unshare", "-Urn", "test", "-w", "/dev/net/tun"], capture_output=True, text=True)
    return done.stderr.strip() or "/dev/net/tun is missing" if done.returncode else None


def in_namespace(test: Callable[[], Awaitable[None]], unshare: str = "-Urn") -> Callable[[], None]:
    """Run an asynchronous test in a fresh interpreter there; its traceback is the failure's text."""

    @functools.wraps(test)
    def wrapper() -> None:
        if reason := why_not():
            pytest.skip(f"no user and network namespaces: {reason}")
        command = ["unshare", unshare, sys.executable, "-m", __name__, test.__module__, test.__name__]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * DEADLINE)
        assert done.returncode == 0, done.stderr

    return wrapper


@dataclass(frozen=True)
class Fate:
    """Of one probe: how many copies come back, after how many seconds, or once a later probe has been through."""

    copies: int = 1
    delay: float = 0.0
    behind: int = 0


class Router:
    """Every network behind the agent: decapsulates what it gets and sends it back, as `fate` says."""

    def __init__(self, fate: Callable[[int, int], Fate] = lambda walk, sequence: Fate()) -> None:
        self.fate = fate
        self.seen: list[Probe] = []
        self.last = b""
        self._held: dict[Probe, list[bytes]] = {}
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._tun, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for command, address in ((_SIOCSIFADDR, AGENT), (_SIOCSIFNETMASK, "255.0.0.0")):
                inet = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
                fcntl.ioctl(control, command, struct.pack("16s16s8x", b"tun0", inet))
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"tun0", _IFF_UP))
        asyncio.get_running_loop().add_reader(self._tun, self._forward)

    def send(self, packet: bytes) -> None:
        """To the agent."""
        os.write(self._tun, packet)

    def _forward(self) -> None:
        while True:
            try:
                packet = os.read(self._tun, 65536)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:
                while packet[9] in (47, 4):
                    packet = packet[24 if packet[9] == 47 else 20 :]
                self._return(packet)

    def _return(self, packet: bytes) -> None:
        _, _, walk, sequence, _ = PAYLOAD.unpack_from(packet, (packet[0] & 0xF) * 4 + 8)
        self.seen.append((walk, sequence))
        self.last = packet
        fate = self.fate(walk, sequence)
        copies = [packet] * fate.copies
        if fate.behind:
            self._held[walk, sequence + fate.behind] = copies
        elif fate.delay:
            asyncio.get_running_loop().call_later(fate.delay, list, map(self.send, copies))
        else:
            for copy in copies + self._held.pop((walk, sequence), []):
                self.send(copy)


class Reports:
    """What the prober delivered."""

    def __init__(self) -> None:
        self.all: list[Report] = []

    def deliver(self, payload: bytes) -> None:
        self.all.append(decode(payload))

    def records(self, walk: int) -> list[Record]:
        return [record for report in self.all for record in report.records if record.walk == walk]

    def decided(self, walk: int) -> list[int]:
        """Sequences, in the order of the reports."""
        return [record.first + index for record in self.records(walk) for index in range(len(record.rtts))]

    def rtts(self, walk: int) -> list[int | None]:
        return [rtt for record in self.records(walk) for rtt in record.rtts]

    def total(self, walk: int, count: str) -> int:
        return sum(getattr(record, count) for record in self.records(walk))


def make_walk(
    number: int = 1, rate: float = 100, hops: Sequence[str] = HOPS, port: int = 3000, agent: str = AGENT
) -> Walk:
    return packets.walk(number, rate, agent, tuple(hops), port)


def make_plan(version: int, *walks: Walk, timeout_ms: int = 500, report_ms: int = 50, port: int = 3000) -> Plan:
    """As it would come over the link."""
    plan = Plan(version, walks, port, timeout_ms=timeout_ms, report_ms=report_ms)
    return Plan.from_json(plan.to_json())


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; the deadline only guards against hanging."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


if __name__ == "__main__":
    inner = getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).__wrapped__
    asyncio.run(inner())
