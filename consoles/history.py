"""What a console said, as its log has it now: in pieces with their times, by time, and as files to keep.

For `web` and workers, which see the folder of the logs but not the gateway that writes there.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from django.conf import settings

from consoles.plain import Lines, rows
from consoles.store import Log, Segment
from consoles.times import Times

PIECE = 256 << 10
COLUMNS, ROWS = 80, 24
"""A serial port does not tell the size of the terminal; this is what devices expect."""
IDLE_S = 2
"""Players shorten longer silence to this."""


def folder_of(team_id: int, port_id: int) -> Path:
    store: Path = settings.CONSOLE_STORE
    return store / str(team_id) / str(port_id)


def when(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)


@dataclass(frozen=True)
class Gap:
    """Bytes that the agent could not keep, and when what follows them came (microseconds)."""

    offset: int
    size: int
    time: int

    @property
    def text(self) -> str:
        # An agent that starts anew leaves out one: it cannot know how much was said meanwhile (pi_agent/backlog.py).
        return "something is missing here" if self.size == 1 else f"{self.size} bytes are missing here"

    @property
    def at(self) -> datetime:
        return when(self.time)


class History:
    """The log of one port. Times are microseconds since 1970."""

    def __init__(self, team_id: int, port_id: int) -> None:
        folder = folder_of(team_id, port_id)
        self._log = Log(folder, 0)
        self.segments: tuple[Segment, ...] = self._log.segments
        self.times = Times(folder, self.segments)

    @property
    def first(self) -> int:
        return self._log.first

    @property
    def end(self) -> int:
        return self._log.end

    @cached_property
    def gaps(self) -> list[Gap]:
        return [
            Gap(before.end, after.base - before.end, self.times.of(after.base))
            for before, after in pairwise(self.segments)
            if after.base > before.end
        ]

    def pieces(self, start: int, end: int, most: int = PIECE) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of what is there from `start` to `end`."""
        while start < end:
            start, data = self._log.read(start, min(most, end - start))
            if not data or start >= end:
                return
            data = data[: end - start]
            yield start, data
            start += len(data)

    def timed(self, start: int, end: int, most: int = PIECE) -> Iterator[tuple[int, int, bytes]]:
        """As `pieces`, cut where the log knows a time: (offset, time, bytes)."""
        for offset, data in self.pieces(start, end, most):
            records = self.times.between(offset, offset + len(data))
            cuts = [max(offset, at) for at, _ in records] + [offset + len(data)]
            for (_, time), (low, high) in zip(records, pairwise(cuts), strict=True):
                if low < high:
                    yield low, time, data[low - offset : high - offset]

    def activity(self, since: int, until: int, count: int) -> list[int]:
        """How many bytes came in each of `count` equal parts of this time."""
        step = max(1, (until - since) // count)
        ends = [self.times.offset(since + step * each) for each in range(count)] + [self.times.offset(until + 1)]
        parts = [max(0, high - low) for low, high in pairwise(ends)]
        for gap in self.gaps:
            for each, (low, high) in enumerate(pairwise(ends)):
                if low <= gap.offset < high:
                    parts[each] = max(0, parts[each] - gap.size)
        return parts

    def text(self, start: int, end: int) -> Iterator[str]:
        """Without control sequences; what is missing is said in a line of its own."""
        lines = Lines(start)
        for offset, data in self.pieces(start, end):
            told = [*lines.feed(offset, data)]
            yield "".join(self._as_text(line_at, line) for line_at, line in told)
        yield "".join(self._as_text(line_at, line) for line_at, line in lines.close())

    def cast(self, start: int, end: int, title: str) -> Iterator[str]:
        """asciicast v3 (docs.asciinema.org/manual/asciicast/v3); markers stand where something is missing."""
        before = self.times.of(start) // 1000
        head = {"version": 3, "term": {"cols": COLUMNS, "rows": ROWS}, "timestamp": before // 1000, "title": title}
        yield _json(head | {"idle_time_limit": IDLE_S})
        decoder, expected = codecs.getincrementaldecoder("utf-8")("replace"), start
        events: list[str] = []
        for offset, time, data in self.timed(start, end):
            now = max(before, time // 1000)
            if offset > expected:
                events.append(_json([0, "m", Gap(expected, offset - expected, time).text]))
            expected = offset + len(data)
            if text := decoder.decode(data):
                events.append(_json([(now - before) / 1000, "o", text]))
                before = now
            if sum(map(len, events)) > PIECE:
                yield "".join(events)
                events.clear()
        yield "".join(events)

    def _as_text(self, offset: int, line: bytes) -> str:
        gap = self._gap_before.get(offset)
        return "\n".join([*([f"[{gap.text}]"] if gap else []), *rows(line)]) + "\n"

    @cached_property
    def _gap_before(self) -> dict[int, Gap]:
        return {gap.offset + gap.size: gap for gap in self.gaps}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
