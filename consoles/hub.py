"""The hub: between agents' links, logs on disk and viewers. In the gateway's event loop; nothing in it waits.

Bytes of a port are written to its log, then acknowledged. Each viewer has an offset of its own and takes what comes
after it, from the ring or from the log (sessions.py): nothing is queued for anybody, who stalls holds nobody up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from agents.link import Link, in_thread, when_there
from agents.services import StaleLink
from consoles import services
from consoles.checks import Checks
from consoles.ears import Ears
from consoles.people import People
from consoles.selectors import Held, OwnLine, lines_of, locks_of
from consoles.store import Log, StaleEpoch
from pi_agent.frames import CONSOLES, PORTS, Error, Frame, Type, ack
from pi_agent.lines import ConsolePlan, Line, ModemLines, PortState

if TYPE_CHECKING:
    import socket
    from pathlib import Path

log = logging.getLogger("netops.consoles")

RING = 1 << 20
NOBODY: frozenset[Any] = frozenset()
"""Of the many ports at which nobody looks."""
LOOK_S = 60.0
"""Between looks for other ports or settings; nudges are quicker, and may get lost."""
SYNC_S = 1.0
AGAIN_S = 5.0
"""After which a log that could not be written is tried again."""
MAX_OFFSET = 2**62
AWAY = "its agent is not connected"
ENDS = b"\r\n\x03\x04\x15"
"""Keys after which no line is begun: Enter, ^C, ^D, ^U."""


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
        self.trouble = AWAY
        """Why nothing comes from the port; empty while it is open."""
        self.viewers: frozenset[Watcher] = NOBODY
        self._people: People | None = None  # of most ports there never are any, and they are 1 kB
        self.modem: dict[str, bool] = {}
        self.heard_at = self.typed_at = float("-inf")
        """When last (time.monotonic)."""
        self.begun = False
        """Whether what people typed last is a line without its end."""
        self._ring = bytearray()
        self._deaf_to = -1  # where a write failed, the highest offset that was passed over

    @property
    def stream(self) -> int:
        return PORTS + self.port_id

    @property
    def people(self) -> People:
        self._people = self._people or People(self.port_id)
        return self._people

    @property
    def held(self) -> Held:
        return self._people.held if self._people else Held()

    def learn(self, held: Held | None) -> None:
        """Who has it by the database; None where nobody ever had."""
        if held or self._people:
            self.people.learn(held or Held())

    def tick(self) -> None:
        if self._people:
            self._people.tick()

    @property
    def end(self) -> int:
        return self.log.end

    @property
    def away(self) -> bool:
        """Also while its agent is here again and has not said yet how the port is."""
        return self.link is None or self.trouble == AWAY

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
            self.heard_at = monotonic()
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

    def typed(self, keys: bytes) -> None:
        """By a person."""
        self.typed_at, self.begun = monotonic(), keys[-1:] not in ENDS

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
        self._carried: dict[Link, tuple[int, list[Port]]] = {}  # the version of the plan that each has, and its ports
        self._written: set[Port] = set()
        self._ears = Ears()
        self._tasks: set[asyncio.Task[None]] = set()
        self._app: Any = None
        self._checks = Checks(self)

    def port(self, team_id: int, port_id: int) -> Port:
        """Made when it is asked for first; whoever asks knows that the team has it."""
        if port_id not in self._ports:
            self._ports[port_id] = Port(team_id, port_id)
        return self._ports[port_id]

    async def plan(self, link: Link) -> None:
        """Say which ports are to be open, if that is news for the agent; take them over for this link first."""
        self._ears.look(link.team_id)
        self._checks.news.set()
        lines = _known_to(link, await when_there(link.team_id, lines_of, agents=[link.agent_id]))
        version, (sent, before) = _version(lines), self._carried.get(link, (0, []))
        if version == sent or not (lines or before):
            return
        ports = [self.port(link.team_id, line.port_id) for line in lines]
        new = [port.port_id for port in ports if port.link is not link]
        held = await when_there(link.team_id, locks_of, port_ids=new) if new else {}
        self._carried[link] = version, ports
        for port in set(before) - set(ports):
            self._leave(port, link)
        for port in ports:
            if port.link is not link:
                try:
                    port.own(link)
                except StaleEpoch:
                    raise StaleLink from None
                port.learn(held.get(port.port_id))
                self._ears.listen(port)
        await self.tell(link, lines)

    async def tell(self, link: Link, lines: list[OwnLine]) -> None:
        """Have the agent open these ports, which are its link's."""
        ends = [self.port(link.team_id, line.port_id).end for line in lines]
        told = [
            Line(line.stream, line.name, end, line.settings, line.far) for line, end in zip(lines, ends, strict=True)
        ]
        await link.send(ConsolePlan(tuple(told)).frame(CONSOLES, _version(lines)))

    def linked(self) -> dict[int, list[int]]:
        """{team: the ports whose agents' links are here}."""
        found: dict[int, list[int]] = {}
        for _, ports in self._carried.values():
            for port in ports:
                found.setdefault(port.team_id, []).append(port.port_id)
        return found

    def left(self, link: Link) -> None:
        for port in self._carried.pop(link, (0, []))[1]:
            self._leave(port, link)

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
                self._written.add(port)
                return port.take(frame.offset, frame.payload)
            case Type.STATE:
                trouble = PortState.parse(frame).trouble
                port.state(trouble)
                self._later(in_thread(link.team_id, services.port_state, port_id=port.port_id, trouble=trouble))
            case Type.MODEM:
                port.modem = ModemLines.parse(frame).lines
            case Type.ERROR:
                port.tell({"type": "refused", "sentence": Error.parse(frame).message})
        return None

    async def browsers(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from consoles.viewers import application

            self._app = application(self)
        await self._app(scope, receive, send)

    async def clients(self, sock: socket.socket) -> None:
        from consoles.ssh.server import Door

        self._door = Door(self)
        await self._door.listen(sock)

    async def keep(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sync())
            tasks.create_task(self._look())
            tasks.create_task(self._ears.run())
            tasks.create_task(self._checks.run())

    async def _sync(self) -> None:
        """What was written is on the disk a second later."""
        while True:
            await asyncio.sleep(SYNC_S)
            for port in self._ports.values():
                port.tick()
            written, self._written = self._written, set()
            await asyncio.to_thread(_sync, written)

    async def _look(self) -> None:
        """For all links of a team at once. Without a database they stay as they are."""
        while True:
            await asyncio.sleep(LOOK_S)
            teams: dict[int, list[Link]] = {}
            for link in self._carried:
                teams.setdefault(link.team_id, []).append(link)
            for team_id, links in teams.items():
                self._ears.look(team_id)
                try:
                    await self._look_at(team_id, links)
                except Exception as error:
                    log.warning("team %s: no look for other console ports (%s)", team_id, type(error).__name__)

    async def _look_at(self, team_id: int, links: list[Link]) -> None:
        found = await in_thread(team_id, lines_of, agents=[link.agent_id for link in links])
        for link in links:
            if link in self._carried and _version(_known_to(link, found)) != self._carried[link][0]:
                link.stir()

    def _leave(self, port: Port, link: Link) -> None:
        if port.link is link:
            port.link = None
            port.state(AWAY)

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


def _known_to(link: Link, found: dict[int, list[OwnLine]]) -> list[OwnLine]:
    """Its agent's lines, but for those to be dialled where it is too old for that."""
    return [line for line in found.get(link.agent_id, []) if line.far is None or link.version > 4]


def _version(lines: list[OwnLine]) -> int:
    what = repr([(line.stream, line.name, line.settings, line.far and asdict(line.far)) for line in lines])
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:6], "big")


def _sync(ports: Iterable[Port]) -> None:
    for port in ports:
        try:
            port.log.sync()
        except OSError as error:
            log.error("the log of console port %s is not synced: %s", port.port_id, error.strerror)
