"""The hub: between agents' links, logs on disk and viewers. In the gateway's event loop; nothing in it waits.

Bytes of a port are written to its log, then acknowledged. Each viewer has an offset of its own and takes what comes
after it, from the ring or from the log (sessions.py): nothing is queued for anybody, who stalls holds nobody up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from agents import nudges
from agents.link import Link, in_thread
from agents.services import StaleLink
from consoles import services
from consoles.selectors import OwnLine, lines_of
from consoles.store import Log, StaleEpoch
from pi_agent.frames import CONSOLES, PORTS, Error, Frame, Type, ack
from pi_agent.lines import ConsolePlan, Line, PortState

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("netops.consoles")

RING = 1 << 20
LOOK_S = 90.0
"""Between looks for other ports or settings; nudges are quicker, and may get lost."""
SYNC_S = 1.0
AGAIN_S = 5.0
"""After which a log that could not be written is tried again."""
MAX_OFFSET = 2**62


class Watcher(Protocol):
    """A viewer, as its port knows it."""

    news: asyncio.Event

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message about the port: few, and small."""


class Port:
    """One console port: its log, the last bytes of it, and who looks on."""

    def __init__(self, team_id: int, port_id: int) -> None:
        self.team_id, self.port_id = team_id, port_id
        self.log = Log(_store() / str(team_id) / str(port_id), settings.CONSOLE_KEEP)
        self.link: Link | None = None
        self.trouble = "its agent is not connected"
        """Why nothing comes from the port; empty while it is open."""
        self.viewers: set[Watcher] = set()
        self._ring = bytearray()
        self._deaf_to = -1  # where a write failed, the highest offset that was passed over

    @property
    def stream(self) -> int:
        return PORTS + self.port_id

    @property
    def end(self) -> int:
        return self.log.end

    def take(self, offset: int, data: bytes) -> Frame | None:
        """Bytes from the agent; returns the acknowledgement."""
        if self._deaf_to >= 0:
            if offset > self.end and offset >= self._deaf_to:
                self._deaf_to = offset + len(data)
                return None  # was under way when the disk refused what comes before it; it comes again
            self._deaf_to = -1
        start, before, failed = max(offset, self.end), self.end, None
        try:
            self.log.append(offset, data)
        except OSError as error:
            failed = error
        if fresh := data[start - offset : max(0, self.end - offset)]:
            if start > before:
                self._ring.clear()
            self._ring += fresh
            del self._ring[: max(0, len(self._ring) - RING)]
            for viewer in self.viewers:
                viewer.news.set()
        if failed is None:
            return ack(self.stream, self.end)
        log.error("the log of console port %s is not written: %s", self.port_id, failed.strerror)
        self._deaf_to = offset + len(data)
        asyncio.get_running_loop().call_later(AGAIN_S, self._ask_again, self.link)
        self.state(f"is not logged and waits ({failed.strerror}): free space in the folder of the console logs")
        return None

    def own(self, link: Link) -> None:
        """This link brings its bytes from now on; raises StaleEpoch, OSError."""
        self.link = None
        before = self.end
        self.log.own(link.epoch)
        if self.end != before:
            self._ring.clear()
        self._deaf_to = -1
        self.link = link

    def read(self, offset: int, most: int) -> tuple[int, bytes] | None:
        """As Log.read, from memory; None where only the log has it."""
        start = len(self._ring) - (self.end - offset)
        if start < 0:
            return None
        return offset, bytes(memoryview(self._ring)[start : start + most])

    def state(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.tell({"type": "state", "trouble": trouble})

    def tell(self, message: dict[str, Any]) -> None:
        for viewer in self.viewers:
            viewer.tell(message)

    def _ask_again(self, link: Link | None) -> None:
        if link is not None and link is self.link:
            task = asyncio.ensure_future(link.send(ack(self.stream, self.end)))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self.state("")


class Hub:
    """agents.streams.Hub."""

    def __init__(self) -> None:
        self._ports: dict[int, Port] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._app: Any = None

    def port(self, team_id: int, port_id: int) -> Port:
        """Made when it is asked for first; whoever asks knows that the team has it."""
        if port_id not in self._ports:
            self._ports[port_id] = Port(team_id, port_id)
        return self._ports[port_id]

    async def carry(self, link: Link) -> None:
        """Say which ports are to be open, now and after each change."""
        version, news = 0, link.registered
        assert news
        try:
            with nudges.hearing(link.agent_id, news.set):
                while True:
                    news.clear()
                    lines = await in_thread(link.team_id, lines_of, agent_id=link.agent_id)
                    version = await self._plan(link, lines, version)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), random.uniform(LOOK_S / 2, LOOK_S))  # noqa: S311
        finally:
            for port in [port for port in self._ports.values() if port.link is link]:
                self._leave(port)

    def receive(self, link: Link, frame: Frame) -> Frame | None:
        if frame.stream == CONSOLES:
            if frame.type is Type.ERROR:
                log.warning("agent %s refuses its console ports: %s", link.agent_id, Error.parse(frame).message)
            return None
        port = self._ports.get(frame.stream - PORTS)
        if port is None or port.link is not link:
            return Error("stream", "This port is not yours.").frame(frame.stream)
        match frame.type:
            case Type.DATA if frame.offset < MAX_OFFSET:
                return port.take(frame.offset, frame.payload)
            case Type.STATE:
                trouble = PortState.parse(frame).trouble
                port.state(trouble)
                self._later(in_thread(link.team_id, services.port_state, port_id=port.port_id, trouble=trouble))
            case Type.ERROR:
                port.tell({"type": "refused", "sentence": Error.parse(frame).message})
        return None

    async def browsers(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from consoles.viewers import application

            self._app = application(self)
        await self._app(scope, receive, send)

    async def keep(self) -> None:
        """What was written is on the disk a second later."""
        while True:
            await asyncio.sleep(SYNC_S)
            try:
                await asyncio.to_thread(_each, [port.log.sync for port in self._ports.values()])
            except OSError as error:
                log.error("console logs are not synced: %s", error.strerror)

    async def _plan(self, link: Link, lines: list[OwnLine], sent: int) -> int:
        """Take the ports over for this link, and send it the plan unless it is the one it has; returns its version."""
        ids = {line.port_id for line in lines}
        for port in [port for port in self._ports.values() if port.link is link and port.port_id not in ids]:
            self._leave(port)
        for line in lines:
            port = self.port(link.team_id, line.port_id)
            if port.link is not link:
                try:
                    port.own(link)
                except StaleEpoch:
                    raise StaleLink from None
        planned = tuple(Line(line.stream, line.name, self._ports[line.port_id].end, line.settings) for line in lines)
        what = repr([(line.stream, line.name, line.settings) for line in planned])
        version = int.from_bytes(hashlib.sha256(what.encode()).digest()[:6], "big")
        if version != sent and (planned or sent):
            await link.send(ConsolePlan(planned).frame(CONSOLES, version))
        return version

    def _leave(self, port: Port) -> None:
        port.link = None
        port.state("its agent is not connected")

    def _later(self, work: Any) -> None:
        async def quietly() -> None:
            try:
                await work
            except Exception as error:
                log.warning("the state of a console port was not noted (%s)", type(error).__name__)

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _store() -> Path:
    path: Path = settings.CONSOLE_STORE
    return path


def _each(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
