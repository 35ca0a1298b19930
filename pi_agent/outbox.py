"""Reports on their way to the server: kept until acknowledged, and bounded."""

from __future__ import annotations

import logging
import struct
from collections import deque
from pathlib import Path
from typing import Self

from pi_agent.fields import FrameError

log = logging.getLogger("pi_agent.outbox")

_HEAD = struct.Struct("!?Q")
_LENGTH = struct.Struct("!I")


class Outbox:
    """A queue addressed by offset. Over `limit` bytes the oldest is dropped and counted; the server sees the gap.

    A fresh agent does not know how far its predecessor got: it starts at what the first WELCOME expects.
    """

    def __init__(self, limit: int) -> None:
        self.first = 0
        """The oldest offset still held."""
        self.dropped = 0
        self._limit = limit
        self._items: deque[bytes] = deque()
        self._size = 0
        self._sent = 0  # how many of the items are on their way
        self._in_flight = 0  # their bytes
        self._adopted = False

    @property
    def next(self) -> int:
        """The offset that the next report will have."""
        return self.first + len(self._items)

    def append(self, report: bytes) -> None:
        self._items.append(report)
        self._size += len(report)
        while self._size > self._limit and len(self._items) > 1:
            self._pop()
            self.dropped += 1

    def resume(self, expected: int) -> None:
        """A new link: send again from what the server expects."""
        self._sent = self._in_flight = 0
        if not self._adopted:
            self.first += expected
            self._adopted = True
        elif expected > self.next:
            self.first = expected  # the server knows more than this agent ever sent: its state is older than ours
        while self._items and self.first < expected:
            self._pop()

    def acknowledge(self, expected: int) -> None:
        """Raises FrameError when the server acknowledges what was not sent."""
        if expected > self.first + self._sent:
            raise FrameError(f"ACK for offset {expected}, but only {self.first + self._sent} were sent")
        while self.first < expected:
            self._pop()

    def take(self, window: int) -> tuple[int, bytes] | None:
        """The next (offset, report) to send; None while there is none, or `window` bytes are in flight."""
        if self._sent == len(self._items):
            return None
        report = self._items[self._sent]
        if self._in_flight and self._in_flight + len(report) > window:
            return None
        self._sent += 1
        self._in_flight += len(report)
        return self.first + self._sent - 1, report

    def save(self, path: Path) -> None:
        """Keep what is left for the next process; a file that cannot be written is logged."""
        items = b"".join(_LENGTH.pack(len(item)) + item for item in self._items)
        new = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(_HEAD.pack(self._adopted, self.first) + items)
            new.replace(path)
        except OSError as error:
            log.warning("%d reports are lost, cannot write %s: %s", len(self._items), path, error.strerror)

    @classmethod
    def load(cls, path: Path, limit: int) -> Self:
        """What the last process saved, once: the file is removed, lest a later crash deliver it again."""
        outbox = cls(limit)
        try:
            data = path.read_bytes()
            path.unlink()
            adopted, first = _HEAD.unpack_from(data)
            start, items = _HEAD.size, []
            while start < len(data):
                size = _LENGTH.unpack_from(data, start)[0]
                start += _LENGTH.size + size
                items.append(data[start - size : start])
        except FileNotFoundError:
            return outbox
        except (OSError, struct.error) as error:
            log.warning("the reports saved in %s are lost: %s", path, error)
            return outbox
        outbox._adopted, outbox.first = adopted, first
        for item in items:
            outbox.append(item)
        return outbox

    def _pop(self) -> None:
        size = len(self._items.popleft())
        self.first += 1
        self._size -= size
        if self._sent:
            self._sent -= 1
            self._in_flight -= size
