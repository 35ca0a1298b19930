"""When the bytes of a log came: beside each segment a file of (offset u64, microseconds since 1970 u64), big-endian.

A record says when the byte at its offset came; those that follow came within STEP_US of it, up to the next record.
Within a segment neither offsets nor times go back, so both are found by bisection and any length costs few reads. A
record that is torn, or that speaks of bytes which do not count, is not looked at.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from consoles.store import Segment

RECORD = struct.Struct("!QQ")
STEP_US = 100_000


class Writer:
    """The file beside the segment that is written now. Where times cannot be written, bytes still are."""

    def __init__(self) -> None:
        self._fd: int | None = None
        self._at = self._time = 0

    def begin(self, path: Path) -> None:
        """Of the segment whose file this goes beside."""
        self.leave()
        self._at = self._time = 0
        with suppress(OSError):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def note(self, offset: int, now_us: int) -> None:
        """Bytes from `offset` on came now."""
        if self._fd is None or (self._at and now_us - self._time < STEP_US):  # or somebody set the clock back
            return
        with suppress(OSError):
            # At its own place, so that one which the disk took in part is written over.
            if os.pwrite(self._fd, RECORD.pack(offset, now_us), self._at) == RECORD.size:
                self._at, self._time = self._at + RECORD.size, now_us

    def leave(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class _Records(Sequence[tuple[int, int]]):
    """A file's records, read where they are looked at."""

    def __init__(self, fd: int) -> None:
        self._fd, self._count = fd, os.fstat(fd).st_size // RECORD.size

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(index, slice):
            start, stop, _ = index.indices(self._count)
            size = max(0, stop - start) * RECORD.size
            return list(RECORD.iter_unpack(os.pread(self._fd, size, start * RECORD.size)))
        if not -self._count <= index < self._count:
            raise IndexError(index)
        at = index % self._count * RECORD.size
        found: tuple[int, int] = RECORD.unpack(os.pread(self._fd, RECORD.size, at))
        return found


@dataclass(frozen=True)
class Times:
    """When the bytes of these segments came, as it is on the disk now; times are in microseconds."""

    folder: Path
    segments: Sequence[Segment]

    def of(self, offset: int) -> int:
        """When the byte at `offset` came; in a gap or at the end, the byte before it. 0 where the log is empty."""
        place = bisect_right(self.segments, offset, key=lambda each: each.base) - 1
        if place < 0:
            return self.first
        segment = self.segments[place]
        with self._records(segment) as records:
            at = bisect_right(records, min(offset, segment.end - 1), key=lambda each: each[0])
            return records[at - 1][1] if at else self._touched(segment)

    def offset(self, time: int) -> int:
        """The first byte that came at `time` or later; the log's end where none did."""
        place = max(0, bisect_left(self._firsts, time) - 1)
        for segment in self.segments[place:]:
            with self._records(segment) as records:
                at = bisect_left(records, time, key=lambda each: each[1])
                if at < len(records) and (found := records[at][0]) < segment.end:
                    return found
                if not records and segment.size and self._touched(segment) >= time:
                    return segment.base
        return self.segments[-1].end if self.segments else 0

    def between(self, start: int, end: int) -> list[tuple[int, int]]:
        """The records of the bytes from `start` to `end`, and the one before them that says when `start` came."""
        found: list[tuple[int, int]] = []
        for segment in self.segments:
            low, high = max(start, segment.base), min(end, segment.end)
            if low < high:
                with self._records(segment) as records:
                    first = max(0, bisect_right(records, low, key=lambda each: each[0]) - 1)
                    some = records[first : bisect_left(records, high, key=lambda each: each[0])]
                found += some or [(segment.base, self._touched(segment))]
        return found

    @property
    def first(self) -> int:
        return self.of(self.segments[0].base) if self.segments else 0

    @property
    def last(self) -> int:
        return self.of(self.segments[-1].end) if self.segments else 0

    @cached_property
    def _firsts(self) -> list[int]:
        return list(accumulate((self.of(each.base) for each in self.segments), max))

    @contextmanager
    def _records(self, segment: Segment) -> Iterator[Sequence[tuple[int, int]]]:
        try:
            fd = os.open(self.folder / segment.times, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield ()
            return
        try:
            yield _Records(fd)
        finally:
            os.close(fd)

    def _touched(self, segment: Segment) -> int:
        """When a segment without times was written last."""
        with suppress(FileNotFoundError):
            return (self.folder / segment.name).stat().st_mtime_ns // 1000
        return 0
