"""The serial ports that the server wants open: their bytes go to it by offset, what people type comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from pi_agent.backlog import Backlog
from pi_agent.dial import Dial
from pi_agent.frames import CONSOLES, Error, Frame, Type, ack
from pi_agent.lines import ConsolePlan, Line, ModemLines, PortState
from pi_agent.registration import Port
from pi_agent.tty import Tty

LIMIT = 4 << 20
"""Bytes of a port that are kept while the server does not acknowledge them."""
CHUNK = 32 << 10
"""Bytes of a port in one frame at most: other ports' turns come soon."""


class Consoles:
    """From the event loop's thread. Ports stay open and are read while there is no link."""

    def __init__(self, limit: int = LIMIT, dial: Iterable[str] = ()) -> None:
        """`dial`: the addresses (host:port) that may be dialled."""
        self._limit = limit
        self._dial = frozenset(dial)
        self._devices: dict[str, str] = {}
        self._ports: dict[int, _Port] = {}
        self._turns: deque[_Port] = deque()
        self._news = asyncio.Event()

    def offer(self, ports: Iterable[Port]) -> None:
        """The ports that this machine has now: no other can be opened, whatever the server asks for."""
        self._devices = {port.name: port.device for port in ports}
        for port in self._ports.values():
            port.open(self._devices, self._dial)

    def run(self, send: Callable[[Frame], Awaitable[None]], window: int) -> Coroutine[None, None, None]:
        """Send for one link, until cancelled; nothing of a port before this link's plan says from where."""
        for port in self._ports.values():
            port.live = False
        return self._run(send, window)

    async def _run(self, send: Callable[[Frame], Awaitable[None]], window: int) -> None:
        while True:
            self._news.clear()
            while frame := self._next(window):
                await send(frame)
            await self._news.wait()

    def receive(self, frame: Frame) -> Frame | None:
        """A frame of CONSOLES or of a port; returns the answer to it. Raises FrameError."""
        if frame.stream == CONSOLES:
            if frame.type is not Type.DATA:
                return None
            self._plan(ConsolePlan.parse(frame))
            return ack(CONSOLES, frame.offset + 1)
        port = self._ports.get(frame.stream)
        if port is None:
            return _refused("stream", "This port is not open here.", frame)
        if frame.type is Type.ACK:
            port.backlog.acknowledge(frame.offset)
            port.pace()
            self._news.set()
            return None
        return port.order(frame)

    def close(self) -> None:
        for port in self._ports.values():
            port.tty.close()

    def _plan(self, plan: ConsolePlan) -> None:
        wanted = {line.stream: line for line in plan.lines}
        for stream in [stream for stream in self._ports if stream not in wanted]:
            self._ports.pop(stream).tty.close()
        for stream, line in wanted.items():
            port = self._ports.get(stream) or _Port(line, self._limit, self._news.set)
            self._ports[stream] = port
            port.want(line)
            port.open(self._devices, self._dial)
        self._turns = deque(self._ports.values())
        self._news.set()

    def _next(self, window: int) -> Frame | None:
        for port in self._turns:
            if port.live and port.untold and port.tty.trouble is not None:
                port.untold = False
                return PortState(port.tty.trouble).frame(port.stream)
        for _ in range(len(self._turns)):
            port = self._turns[0]
            self._turns.rotate(-1)
            if port.live and (item := port.backlog.take(CHUNK, window)):
                return Frame(Type.DATA, port.stream, *item)
        return None


class _Port:
    def __init__(self, line: Line, limit: int, news: Callable[[], None]) -> None:
        self.stream = line.stream
        self.backlog = Backlog(limit)
        self.live = False
        """Whether this link has said from which byte on it wants it."""
        self.untold = True
        self.tty: Tty | Dial = (Dial if line.far else Tty)(line.name, self._read, self._state)
        self._news = news
        self._line = line
        self._fence = 0

    def want(self, line: Line) -> None:
        self._line = line
        if not self.live:
            self.backlog.resume(line.offset)
            self.live = self.untold = True

    def open(self, devices: dict[str, str], dial: frozenset[str]) -> None:
        if isinstance(self.tty, Tty):
            self.tty.use(devices.get(self._line.name), self._line.settings)
        elif self._line.far:
            self.tty.use(self._line.far, self._line.far.address in dial)
        self.pace()

    def order(self, frame: Frame) -> Frame | None:
        """Write, or a break; what comes under an older fence than the newest seen is refused. Looking is free."""
        if frame.type is Type.MODEM:
            return ModemLines(self.tty.modem()).frame(frame.stream)
        if frame.offset < self._fence:
            return _refused("fence", "Somebody else took this port over: nothing was written.", frame)
        self._fence = frame.offset
        if frame.type is Type.DATA:
            trouble = self.tty.write(frame.payload)
        elif frame.type is Type.BREAK:
            trouble = self.tty.send_break()
        else:
            return _refused("stream", f"A {frame.type.name} frame is not for a port.", frame)
        return _refused("port", trouble, frame) if trouble else None

    def pace(self) -> None:
        """A device that can wait does, before anything of it is dropped."""
        if isinstance(self.tty, Tty):
            self.tty.wait(self._line.settings.flow != "none" and self.backlog.full)

    def _read(self, data: bytes) -> None:
        self.backlog.append(data)
        self.pace()
        self._news()

    def _state(self, trouble: str) -> None:
        self.untold = True
        self._news()


def _refused(code: str, sentence: str, frame: Frame) -> Frame:
    return Error(code, sentence).frame(frame.stream, frame.offset)
