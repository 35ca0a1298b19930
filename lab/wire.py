"""Wires in user space: what one tun device transmits is written to another, unless the wire is at fault."""

from __future__ import annotations

import asyncio
import heapq
import os
import select
from collections.abc import Callable
from dataclasses import dataclass, field
from random import random

from lab.namespace import MTU

ROUNDS = 500
"""Poll rounds before other work of the event loop gets its turn, some 5 ms at full load."""
DELAY_BYTES = 16 << 20
"""How much delayed traffic is kept before more is dropped."""


class Pump:
    """Calls a handler for every readable file descriptor, without asyncio's cost per event.

    A handler reads one packet. Writing it to a tun device runs the receiving kernel at once, so the next hop is
    readable in the next round: a walk over many hops costs one wake-up of the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._delayed: list[tuple[float, int, int, bytes]] = []
        self._delayed_bytes = 0
        self._counter = 0
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._poll.fileno(), self._run)

    def add(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def write_later(self, seconds: float, fd: int, packet: bytes) -> bool:
        """Write the packet after a delay; false when too much is waiting already."""
        if self._delayed_bytes + len(packet) > DELAY_BYTES:
            return False
        self._delayed_bytes += len(packet)
        self._counter += 1
        entry = (self._loop.time() + seconds, self._counter, fd, packet)
        heapq.heappush(self._delayed, entry)
        if self._delayed[0] is entry:
            self._arm()
        return True

    def _run(self) -> None:
        poll, handlers = self._poll.poll, self._handlers
        for _ in range(ROUNDS):
            events = poll(0, 64)
            if not events:
                return
            for fd, _mask in events:
                handlers[fd]()

    def _write_due(self) -> None:
        now = self._loop.time()
        while self._delayed and self._delayed[0][0] <= now:
            _due, _order, fd, packet = heapq.heappop(self._delayed)
            self._delayed_bytes -= len(packet)
            tun_write(fd, packet)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._delayed[0][0], self._write_due) if self._delayed else None


class Standstills:
    """How often the lab stood still for long, told by a timer that came late.

    A network that forwards nothing is at fault: on a machine that is too busy, whoever probes it is right to say so.
    """

    LONG_S = 0.2
    _EVERY_S = 0.02

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.count = 0
        self._watch(loop.time())

    def _watch(self, due: float) -> None:
        now = self._loop.time()
        self.count += now - due > self.LONG_S
        self._loop.call_at(now + self._EVERY_S, self._watch, now + self._EVERY_S)


def tun_write(fd: int, packet: bytes | memoryview) -> bool:
    """False when the device refuses: it is down, its queue is full, or this is no IP packet."""
    try:
        os.write(fd, packet)
    except OSError:
        return False
    return True


@dataclass
class Direction:
    """One direction of a wire, between the file descriptors of two tun devices."""

    source: int
    target: int
    pump: Pump = field(repr=False)
    cut: bool = False
    announced: bool = False  # routing knows that it is cut
    loss: float = 0.0  # probability
    delay: float = 0.0  # seconds
    packets: int = 0
    dropped: int = 0

    def forward(self) -> None:
        """Carry one packet."""
        try:
            packet = os.read(self.source, MTU)
        except OSError:
            return
        self.packets += 1
        if self.cut or (self.loss and random() < self.loss):  # noqa: S311
            passed = False
        elif self.delay:
            passed = self.pump.write_later(self.delay, self.target, packet)
        else:
            passed = tun_write(self.target, packet)
        if not passed:
            self.dropped += 1
