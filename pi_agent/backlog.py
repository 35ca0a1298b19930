"""What a serial port gave, on its way to the server: kept until acknowledged, and bounded."""

from __future__ import annotations

from pi_agent.fields import FrameError


class Backlog:
    """Bytes addressed by offset. Over `limit` bytes the oldest are dropped, which the server sees as a gap."""

    def __init__(self, limit: int) -> None:
        self.first = 0
        """The oldest offset still held."""
        self._limit = limit
        self._bytes = bytearray()
        self._sent = 0  # how many of them are on their way
        self._adopted = False

    @property
    def next(self) -> int:
        """The offset that the next byte will have."""
        return self.first + len(self._bytes)

    @property
    def full(self) -> bool:
        """More than half, that is: there is room for what is under way."""
        return len(self._bytes) > self._limit // 2

    def append(self, data: bytes) -> None:
        self._bytes += data
        if (over := len(self._bytes) - self._limit) > 0:
            self._drop(over)

    def resume(self, expected: int) -> None:
        """A new link: send again from what the server expects.

        A fresh agent cannot know what was lost while nobody read the port. It leaves out one offset: a gap in the log.
        """
        self._sent = 0
        if not self._adopted or expected > self.next:
            self.first = expected + 1 if expected else 0
            self._adopted = True
        elif expected > self.first:
            self._drop(expected - self.first)

    def acknowledge(self, expected: int) -> None:
        """Everything before `expected` is stored; what is acknowledged a second time is to be sent again from there.
        Raises FrameError when the server acknowledges what was not sent."""
        if expected > self.first + self._sent:
            raise FrameError(f"ACK for byte {expected}, but only {self.first + self._sent} were sent")
        if expected > self.first:
            self._drop(expected - self.first)
        else:
            self._sent = 0

    def take(self, most: int, window: int) -> tuple[int, bytes] | None:
        """The next (offset, bytes) to send, `most` at once; None while there are none or `window` are in flight."""
        start = self._sent
        end = min(len(self._bytes), start + most, window)
        if end <= start:
            return None
        self._sent = end
        return self.first + start, bytes(memoryview(self._bytes)[start:end])

    def _drop(self, count: int) -> None:
        del self._bytes[:count]
        self.first += count
        self._sent = max(0, self._sent - count)
