"""The log of a console port: append-only segments in one folder, each named by base offset and owner epoch.

An offset is a byte of what the port gave. The log's end is the last base plus that segment's length; where a base lies
behind the end before it, the bytes between are a gap: the agent could not keep them. An owner writes only to files of
its own epoch, and of an older epoch nothing counts from where a newer one begins: who lost a port can spoil nothing.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from consoles.times import Writer

SEGMENT = 4 << 20
"""Bytes after which a new segment begins."""


class StaleEpoch(Exception):
    """A newer owner has written to this log."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`size` is what counts of it: less than the file's, where a newer epoch begins inside."""

    base: int
    epoch: int
    size: int

    @property
    def end(self) -> int:
        return self.base + self.size

    @property
    def name(self) -> str:
        return f"{self.base:020d}-{self.epoch:010d}.log"

    @property
    def times(self) -> str:
        """The file beside it (consoles/times.py)."""
        return self.name.removesuffix("log") + "times"


def _files(folder: Path) -> Iterator[tuple[int, int, os.DirEntry[str]]]:
    """(epoch, base, file) of every segment."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            base, _, epoch = entry.name.removesuffix(".log").partition("-")
            if entry.name.endswith(".log") and base.isdecimal() and epoch.isdecimal():
                yield int(epoch), int(base), entry


def newest_end(folder: Path) -> int:
    """Where the log in `folder` ends; of its files only one is looked at."""
    with suppress(FileNotFoundError):
        if newest := max(_files(folder), key=lambda each: each[:2], default=None):
            return newest[1] + newest[2].stat().st_size
    return 0


def segments(folder: Path) -> list[Segment]:
    """What counts of the log in `folder`, by offset."""
    found = []
    for epoch, base, entry in _files(folder):
        with suppress(FileNotFoundError):
            found.append(Segment(base, epoch, entry.stat().st_size))
    kept: list[Segment] = []
    for segment in sorted(found, key=lambda each: (-each.epoch, -each.base)):
        end = min(segment.end, kept[-1].base) if kept else segment.end
        if segment.base < end or not kept:
            kept.append(Segment(segment.base, segment.epoch, max(0, end - segment.base)))
    return kept[::-1]


def drop(folder: Path, segment: Segment) -> None:
    """Its bytes are gone from the log."""
    (folder / segment.name).unlink(missing_ok=True)
    (folder / segment.times).unlink(missing_ok=True)


class Log:
    """Read by anybody; written by whoever `own`s it. Nothing here awaits: writes end in the page cache."""

    def __init__(self, folder: Path, keep: int) -> None:
        """`keep`: of what is older than so many bytes, whole segments are dropped."""
        self.end = 0
        self._path = str(folder)  # a Path for each port costs a gateway of many agents 2 kB an agent
        self._keep = keep
        self._epoch = -1
        self._segments: list[Segment] = []
        self._fd: int | None = None
        self._times = Writer()
        self._left: list[int] = []
        self._unsynced = False
        self.look()

    @property
    def _folder(self) -> Path:
        return Path(self._path)

    @property
    def first(self) -> int:
        """The oldest offset that is still there."""
        return self._segments[0].base if self._segments else self.end

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(self._segments)

    def look(self) -> None:
        """See what others wrote."""
        self._segments = segments(self._folder)
        self.end = self._segments[-1].end if self._segments else 0

    def own(self, epoch: int) -> None:
        """Write under this epoch from now on; raises StaleEpoch, OSError."""
        self._epoch = -1
        self._leave_segment()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.look()
        if self._segments and self._segments[-1].epoch > epoch:
            raise StaleEpoch
        self._epoch = epoch

    def append(self, offset: int, data: bytes) -> None:
        """Take these bytes; what is there already is passed over, and an offset behind the end makes a gap.

        Raises OSError where the disk does not take them all; what it took counts.
        """
        data = data[max(0, self.end - offset) :]
        offset = max(offset, self.end)
        while data:
            written = os.write(self._segment(offset), data)
            last = self._segments[-1]
            self._segments[-1] = Segment(last.base, last.epoch, last.size + written)
            self._unsynced = True
            self._times.note(offset, time.time_ns() // 1000)
            offset, data = offset + written, data[written:]
            self.end = offset

    def read(self, offset: int, most: int) -> tuple[int, bytes]:
        """(where they begin, bytes) from `offset` on, `most` at once: further on behind a gap, none at the end."""
        place = max(0, bisect_right(self._segments, offset, key=lambda each: each.base) - 1)
        for segment in self._segments[place:]:
            start = max(offset, segment.base)
            # Another process drops what is too old.
            with suppress(FileNotFoundError):
                if start < segment.end:
                    with open(self._folder / segment.name, "rb") as file:
                        return start, os.pread(file.fileno(), min(most, segment.end - start), start - segment.base)
        return self.end, b""

    def sync(self) -> None:
        """What was written is on the disk. May run in another thread: files are closed here only."""
        left, self._left = self._left, []
        for fd in left:
            os.fsync(fd)
            os.close(fd)
        if self._unsynced and self._fd is not None:
            self._unsynced = False
            os.fsync(self._fd)

    def close(self) -> None:
        """Own it no more."""
        self._epoch = -1
        self._leave_segment()
        self._times.leave()
        self.sync()

    def _leave_segment(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._left.append(fd)

    def _segment(self, offset: int) -> int:
        """The file that takes the byte at `offset`."""
        if self._epoch < 0:
            raise StaleEpoch
        last = self._segments[-1] if self._segments else None
        if self._fd is None or last is None or last.end != offset or last.size >= SEGMENT:
            self._leave_segment()
            new = Segment(offset, self._epoch, 0)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(self._folder / new.name, flags, 0o600)
            self._times.begin(self._folder / new.times)
            if last is None or last.base != offset or last.epoch != self._epoch:
                self._segments.append(new)
            self._drop_old()
        return self._fd

    def _drop_old(self) -> None:
        while len(self._segments) > 1 and self.end - self._segments[1].base > self._keep:
            drop(self._folder, self._segments.pop(0))
