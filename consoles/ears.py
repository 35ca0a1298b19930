"""Rules at work, in the gateway beside the path of bytes: an ear reads its port as a viewer does, whenever it gets to
it. Lines are matched in a thread; what matched is told to the database a moment later, with the lines around.

An ear's place is kept in the port's row, so nothing goes unseen when a gateway dies; what is seen twice is told apart
by its offset (consoles/rules.py). While PostgreSQL is away all of it waits: the log has the bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import django.db
import re2

from agents.link import in_thread
from consoles.patterns import PatternSet
from consoles.plain import LINE, Lines, plain
from consoles.rule_selectors import patterns_on, places_of
from consoles.rules import Hit, rules_looked, rules_matched

if TYPE_CHECKING:
    from consoles.hub import Port
    from consoles.store import Log

log = logging.getLogger("netops.consoles")

CHUNK = 64 << 10
PAUSE_S = 0.1
"""What comes within it is looked at together."""
AROUND = 5
"""Lines before and after the one that matched."""
WINDOW = 4 << 10
"""Bytes before and after it in which they are looked for."""
AFTER_S = 1.0
"""For the lines after it to come; also after which a line without an end, a prompt, is looked at as it is."""
TOLD_S = 10.0
"""Between two times that the same is told of one port."""
NOTE_S = 30.0
LOAD_S = 1.0
AGAIN_S = 5.0


@dataclass
class _Found:
    offset: int
    line: str
    last: int
    count: int
    due: float


class _Part(NamedTuple):
    """Bytes of one port that are to be matched."""

    ear: Ear
    patterns: PatternSet
    offset: int
    data: bytes


@dataclass
class _Team:
    rows: list[tuple[int, str]] = field(default_factory=list)
    patterns: PatternSet | None = None
    loaded: float = 0.0
    ports: set[Port] = field(default_factory=set)


class _News(asyncio.Event):
    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__()
        self._heard = heard

    def set(self) -> None:
        self._heard()


class Ear:
    """hub.Watcher, of one port. `rest` is the line that has not ended yet, from `rest_at` on."""

    def __init__(self, port: Port, heard: Callable[[Ear], None]) -> None:
        self.port = port
        self.news: asyncio.Event = _News(lambda: heard(self))
        self.begin = port.end
        self.place = -1
        self.noted = -1
        self.rest, self.rest_at, self.rest_due = b"", 0, 0.0
        self.found: dict[int, _Found] = {}
        self.told: dict[int, tuple[int, float]] = {}
        """rule: the last line that was told of, and when the next may be."""

    def tell(self, message: dict[str, Any]) -> None:
        """Nothing about the port matters here."""

    def skip(self) -> None:
        self.place, self.rest = self.port.end, b""

    @property
    def looked(self) -> int:
        """Nothing before it is needed again."""
        begin = self.rest_at if self.rest else self.place
        return min([begin, *(found.offset for found in self.found.values())])

    def cut(self, offset: int, data: bytes) -> tuple[int, bytes]:
        """Whole lines, and where they begin; the rest is kept, up to a length."""
        if offset != self.place:  # behind a gap
            self.rest = b""
        if not self.rest:
            self.rest_at = offset
        self.place = offset + len(data)
        data = self.rest + data
        end = data.rfind(b"\n") + 1
        if len(data) - end >= LINE:
            end = len(data)
        start, self.rest = self.rest_at, data[end:]
        self.rest_at = start + end
        self.rest_due = monotonic() + AFTER_S if self.rest else 0.0
        return start, data[:end]

    def take(self, found: Iterable[tuple[int, str, list[int]]], now: float) -> None:
        for offset, line, rules in found:
            for rule in rules:
                last, not_before = self.told.get(rule, (-1, 0.0))
                held = self.found.get(rule)
                if offset <= (held.last if held else last):
                    continue
                if held:
                    held.last, held.count = offset, held.count + 1
                else:
                    self.found[rule] = _Found(offset, line, offset, 1, max(now + AFTER_S, not_before))


class Ears:
    """Those of a gateway; everything runs in its event loop but matching, reading of files and the database."""

    def __init__(self) -> None:
        self._ears: dict[Port, Ear] = {}
        self._teams: dict[int, _Team] = {}
        self._stale: set[int] = set()
        self._fresh: set[Ear] = set()
        self._dirty: set[Ear] = set()
        self._wake = asyncio.Event()
        self._noted = monotonic()

    def listen(self, port: Port) -> None:
        """This gateway has the port, from now on or again."""
        team = self._teams.setdefault(port.team_id, _Team())
        team.ports.add(port)
        if team.rows or not team.loaded:
            self._fresh.add(self._ear(port))
        self.look(port.team_id)

    def look(self, team_id: int) -> None:
        """The rules of a team may have changed."""
        self._stale.add(team_id)
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._patience())
            self._wake.clear()
            try:
                await self._load()
                await self._listen()
                await self._tell()
            except (django.db.Error, OSError) as error:
                log.warning("rules wait (%s)", type(error).__name__)
                await asyncio.sleep(AGAIN_S)
                self._dirty |= set(self._ears.values())
            if self._dirty or self._fresh:
                self._wake.set()
            else:
                await asyncio.sleep(PAUSE_S)

    def _ear(self, port: Port) -> Ear:
        """Ports of teams without rules have none: there may be thousands."""
        if port not in self._ears:
            self._ears[port] = ear = Ear(port, self._heard)
            port.viewers |= {ear}
        return self._ears[port]

    def _drop(self, ear: Ear) -> None:
        ear.port.viewers -= {ear}
        del self._ears[ear.port]
        self._fresh.discard(ear)
        self._dirty.discard(ear)

    def _heard(self, ear: Ear) -> None:
        self._dirty.add(ear)
        self._wake.set()

    def _patience(self) -> float:
        """Until there is something to do though nothing is heard."""
        waiting = any(ear.found or ear.rest_due for ear in self._ears.values())
        return AFTER_S / 2 if waiting or self._stale else NOTE_S

    async def _load(self) -> None:
        now = monotonic()
        for team_id in list(self._stale):
            team = self._teams.setdefault(team_id, _Team())
            if team.loaded and now - team.loaded < LOAD_S:
                continue
            rows = await in_thread(team_id, patterns_on)
            if rows != team.rows:
                try:
                    patterns = await asyncio.to_thread(PatternSet, rows) if rows else None
                except re2.error as error:
                    log.error("the rules of team %s are not used: %s", team_id, error)
                    patterns = None
                team.rows, team.patterns = rows, patterns
                for port in (team.ports - self._ears.keys()) if rows else ():
                    self._ear(port).skip()
                # What was said before a rule was made is none of its business, also after a restart.
                await self._note(team_id)
            team.loaded = now
            for ear in [self._ears[port] for port in team.ports if port in self._ears] if not rows else ():
                self._drop(ear)
            self._stale.discard(team_id)
        await self._place()

    async def _place(self) -> None:
        """Where ears that are new, or that another gateway may have had, go on."""
        fresh = {ear for ear in self._fresh if self._teams[ear.port.team_id].loaded}
        for team_id in {ear.port.team_id for ear in fresh}:
            ours = {ear.port.port_id: ear for ear in fresh if ear.port.team_id == team_id}
            places = await in_thread(team_id, places_of, ports=list(ours))
            for port_id, ear in ours.items():
                looked = places.get(port_id)
                ear.noted = -1 if looked is None else looked
                before = max(ear.begin if looked is None else looked, ear.place)
                if before > ear.place:
                    ear.place, ear.rest = min(before, ear.port.end), b""
        self._fresh -= fresh
        self._dirty |= fresh

    async def _listen(self) -> None:
        """A piece of each port that has something new."""
        now, parts = monotonic(), []
        dirty, self._dirty = self._dirty, set()
        for ear in dirty:
            if ear.place < 0:
                continue
            patterns = self._teams[ear.port.team_id].patterns
            if patterns is None:
                ear.skip()
                continue
            found = ear.port.read(ear.place, CHUNK)
            if found is None:
                found = await asyncio.to_thread(ear.port.log.read, ear.place, CHUNK)
            if found[1]:
                parts.append(_Part(ear, patterns, *ear.cut(*found)))
                self._dirty |= {ear} if ear.place < ear.port.end else set()
        for ear in self._ears.values():
            patterns = self._teams[ear.port.team_id].patterns if ear.rest_due else None
            if patterns and ear.rest_due <= now:
                ear.rest_due = 0.0
                parts.append(_Part(ear, patterns, ear.rest_at, ear.rest))
        if parts:
            for part, found_ in zip(parts, await asyncio.to_thread(_matches, parts), strict=True):
                part.ear.take(found_, now)

    async def _tell(self) -> None:
        now = monotonic()
        for ear in list(self._ears.values()):
            due = {rule: found for rule, found in ear.found.items() if found.due <= now}
            if not due:
                continue
            hits = await asyncio.to_thread(_hits, ear.port.log, due)
            for rule in due:
                del ear.found[rule]
            try:
                await in_thread(ear.port.team_id, rules_matched, port_id=ear.port.port_id, looked=ear.looked, hits=hits)
            except BaseException:
                ear.found |= due
                raise
            ear.told |= {rule: (found.last, now + TOLD_S) for rule, found in due.items()}
        if now - self._noted > NOTE_S:
            self._noted = now
            for team_id in self._teams:
                await self._note(team_id)

    async def _note(self, team_id: int) -> None:
        moved = [
            ear
            for ear in self._ears.values()
            if ear.port.team_id == team_id and ear.port.link and ear.place >= 0 and ear.looked > ear.noted
        ]
        if moved and self._teams[team_id].rows:
            places = {ear.port.port_id: ear.looked for ear in moved}
            await in_thread(team_id, rules_looked, places=places)
            for ear in moved:
                ear.noted = places[ear.port.port_id]


def _matches(parts: list[_Part]) -> list[list[tuple[int, str, list[int]]]]:
    return [list(part.patterns.of_lines(part.offset, part.data)) for part in parts]


def _hits(of: Log, found: dict[int, _Found]) -> list[Hit]:
    return [
        Hit(rule, each.offset, each.last, each.count, each.line, _around(of, each.offset, each.line))
        for rule, each in found.items()
    ]


def _around(of: Log, offset: int, line: str) -> tuple[str, ...]:
    """The line with those around it, as far as the log has them."""
    start = max(of.first, offset - WINDOW)
    lines = Lines(start)
    shown: list[tuple[int, str]] = []
    place = start
    while place < offset + WINDOW:
        where, data = of.read(place, offset + WINDOW - place)
        if not data:
            break
        shown += [(at, plain(raw)) for at, raw in lines.feed(where, data)]
        place = where + len(data)
    shown += [(at, plain(raw)) for at, raw in lines.close()]
    # The window may begin within a line.
    before = [text for at, text in shown if at < offset and (at > start or start == of.first) and text][-AROUND:]
    after = [text for at, text in shown if at > offset and text][:AROUND]
    return (*before, f"> {line}", *after)
