"""The prober: sends a plan's walks evenly in time, matches what returns, and reports what was decided.

It lives in the event loop: one timer for the next probe, one for the next report, one reader. So no thread can come
between a transmit time and its packet, and a plan is exchanged between two callbacks, never within one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import heapq
import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pi_agent.addresses import interface_addresses
from pi_agent.frames import MAX_PAYLOAD
from pi_agent.prober import wire
from pi_agent.prober.plan import MAGIC, Plan, PlanError, Walk
from pi_agent.prober.report import MAX_COUNT, Record, Report, encode
from pi_agent.prober.tally import Tally

log = logging.getLogger("pi_agent.prober")

_SECOND = 1_000_000_000
_BURST = _SECOND // 50
"""Depth of the token bucket: a walk that fell behind by more does not catch up."""
_AT_ONCE = 64
"""Packets sent or received before the rest of the event loop has its turn."""
_DRAIN = 8192
"""More replies than the receive buffer holds."""
_GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, modulo 1, lie evenly however many there are (Weyl's sequence)."""
_RECORDS_SIZE = MAX_PAYLOAD - 64

_STATIC = struct.Struct("!4sII")
_COUNTER = struct.Struct("!IQ")


@dataclass(slots=True)
class _Sender:
    walk: Walk
    destination: str
    packet: bytearray
    tally: Tally
    interval: int


class Prober:
    """Carries out one plan at a time; `deliver` gets every encoded report. Runs in the running event loop."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self.nonce = secrets.randbits(32)
        self._deliver = deliver
        self._plan = Plan(version=0)
        self._senders: list[tuple[int, int, _Sender]] = []  # a heap: due, number in the plan
        self._tallies: dict[int, list[Tally]] = {}  # by walk id: removed ones until settled, then the current
        self._sockets: tuple[socket.socket, socket.socket] | None = None  # out, into
        self._send_timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._epoch = time.time_ns() - time.monotonic_ns()
        self._complaints: set[int | None] = set()

    def apply(self, plan: Plan) -> None:
        """Replace the plan. Raises PlanError, and keeps the old one, if this machine cannot or may not send it.

        A walk with the same id and template goes on; a new one starts at sequence 0; what a removed one has in
        flight is still decided and reported, under the version of its last plan.
        """
        if plan.walks:
            into = self._open(plan.receive_port)
            _check_sources(plan)
            wire.attach_filter(into, plan.receive_port, self.nonce)
        now = time.monotonic_ns()
        old = {sender.walk.id: (due, sender) for due, _, sender in self._senders}
        for _, sender in old.values():
            sender.tally.retired = True
        self._senders = [self._continue(walk, number, now, old.get(walk.id)) for number, walk in enumerate(plan.walks)]
        for _, _, sender in self._senders:
            sender.tally.retired = False
            sender.tally.version = plan.version
        heapq.heapify(self._senders)
        if self._report_timer and plan.report_ms != self._plan.report_ms:
            self._report_timer.cancel()
            self._report_timer = None
        self._plan = plan
        self._complaints.clear()
        self._schedule_send()
        if self._report_timer is None:
            self._schedule_report(now + plan.report_ms * 1_000_000)

    def close(self) -> None:
        """Report what is decided and stop; what is in flight stays undecided."""
        self._senders = []
        self._schedule_send()
        self._report()
        if self._report_timer:
            self._report_timer.cancel()
        if self._sockets:
            out, into = self._sockets
            asyncio.get_running_loop().remove_reader(into)
            out.close()
            into.close()
        self._sockets, self._report_timer, self._tallies = None, None, {}

    def _open(self, port: int) -> socket.socket:
        """The receiving socket; both are opened when first needed, and stay open until `close`."""
        if self._sockets is None:
            try:
                out = wire.open_transmit()
                with contextlib.ExitStack() as on_error:
                    on_error.callback(out.close)
                    self._sockets = out, wire.open_receive(port, self.nonce)
                    on_error.pop_all()
            except OSError as error:
                fix = "; give it CAP_NET_RAW" if isinstance(error, PermissionError) else ""
                raise PlanError(f"this agent cannot probe: {error.strerror}{fix}") from None
            asyncio.get_running_loop().add_reader(self._sockets[1], self._receive, _AT_ONCE)
        return self._sockets[1]

    def _continue(self, walk: Walk, number: int, now: int, old: tuple[int, _Sender] | None) -> tuple[int, int, _Sender]:
        interval = round(_SECOND / walk.rate)
        if old:
            due, sender = old
            if (sender.walk.template, sender.walk.payload_offset) == (walk.template, walk.payload_offset):
                sender.walk, sender.interval = walk, interval
                return min(due, now + interval), number, sender
        tally = Tally(walk.id)
        self._tallies.setdefault(walk.id, []).append(tally)
        packet = bytearray(walk.template)
        _STATIC.pack_into(packet, walk.payload_offset, MAGIC, self.nonce, walk.id)
        phase = round(interval * (number * _GOLDEN % 1))
        return now + phase, number, _Sender(walk, walk.destination, packet, tally, interval)

    def _schedule_send(self) -> None:
        if self._send_timer:
            self._send_timer.cancel()
            self._send_timer = None
        if self._senders:
            loop = asyncio.get_running_loop()
            self._send_timer = loop.call_at(self._senders[0][0] / _SECOND, self._send_due)

    def _send_due(self) -> None:
        now = time.monotonic_ns()
        for _ in range(_AT_ONCE):
            due, number, sender = self._senders[0]
            if due > now:
                break
            self._send(sender)
            heapq.heapreplace(self._senders, (max(due + sender.interval, now - _BURST), number, sender))
        self._schedule_send()

    def _send(self, sender: _Sender) -> None:
        assert self._sockets
        now = time.monotonic_ns()
        _COUNTER.pack_into(sender.packet, sender.walk.payload_offset + _STATIC.size, sender.tally.sequence, now)
        try:
            self._sockets[0].sendto(sender.packet, (sender.destination, 0))
        except OSError as error:
            self._complain(f"cannot send to {sender.destination}: {error.strerror}", error.errno)
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                return  # a full queue of our own is no loss on the path: the next probe takes this sequence
        sender.tally.sent(now)

    def _receive(self, limit: int) -> None:
        if self._sockets is None:
            return
        timeout = self._plan.timeout_ms * 1_000_000
        for _ in range(limit):
            try:
                packet, received = wire.receive(self._sockets[1])
            except BlockingIOError:
                return
            except OSError as error:
                self._complain(f"cannot receive: {error.strerror}", error.errno)
                return
            if probe := wire.parse(packet):
                walk, sequence, transmitted = probe
                for tally in reversed(self._tallies.get(walk, ())):
                    if tally.came(sequence, transmitted, received, timeout):
                        break

    def _schedule_report(self, due: int) -> None:
        self._report_timer = None
        if self._tallies:
            loop = asyncio.get_running_loop()
            self._report_timer = loop.call_at(due / _SECOND, self._report_due, due)

    def _report_due(self, due: int) -> None:
        self._report()
        self._schedule_report(max(due + self._plan.report_ms * 1_000_000, time.monotonic_ns()))

    def _report(self) -> None:
        """Read every reply that came before `now`, so that only then a probe is called lost."""
        now = time.monotonic_ns()
        self._receive(_DRAIN)
        groups: dict[tuple[int, int], list[Record]] = {}
        for walk, tallies in list(self._tallies.items()):
            for generation, tally in enumerate(tallies):
                if record := tally.take(now, self._plan.timeout_ms * 1_000_000):
                    groups.setdefault((tally.version, generation), []).append(record)
            self._tallies[walk] = [tally for tally in tallies if not (tally.retired and tally.settled)]
            if not self._tallies[walk]:
                del self._tallies[walk]
        for (version, _), records in groups.items():
            for part in _parts(records):
                self._deliver(encode(Report(version, (now + self._epoch) // 1000, part)))
        if self._sockets and (drops := wire.overruns(self._sockets[1])):
            log.warning("%d replies were dropped by this machine: its receive buffer was full", drops)

    def _complain(self, sentence: str, number: int | None) -> None:
        """Once per plan and kind: a missing route would otherwise fill the log."""
        if number not in self._complaints:
            self._complaints.add(number)
            log.warning("%s", sentence)


def _check_sources(plan: Plan) -> None:
    """Nobody sends under another one's address through this agent."""
    own = {address for addresses in interface_addresses().values() for address in addresses}
    for walk in plan.walks:
        if walk.source not in own:
            raise PlanError(f"walk {walk.id}: {walk.source} is no address of this machine")


def _parts(records: Iterable[Record]) -> Iterator[tuple[Record, ...]]:
    """Cut into what fits one report in one frame."""
    part: list[Record] = []
    size = 0
    for record in records:
        if size + record.size > _RECORDS_SIZE or len(part) == MAX_COUNT:
            yield tuple(part)
            part, size = [], 0
        part.append(record)
        size += record.size
    yield tuple(part)
