"""What became of one walk's probes."""

from __future__ import annotations

from pi_agent.fields import U32
from pi_agent.prober.report import MAX_COUNT, MAX_RTT, Record

_PENDING, _LATE = -1, -2
_HISTORY_NS = 2_000_000_000
_HALF = 1 << 31


class Tally:
    """Matches replies to probes by sequence; times are monotonic nanoseconds.

    The lists hold, from sequence `_base` on, first the `_done` probes already reported (kept a while, to tell a
    duplicate from a late reply), then those still to report.
    """

    def __init__(self, walk: int) -> None:
        self.walk = walk
        self.version = 0
        """Of the last plan that holds the walk; it is reported under this."""
        self.retired = False
        self._base = 0
        self._done = 0
        self._sent: list[int] = []
        self._rtts: list[int] = []
        self._highest = -1
        self._late = self._duplicate = self._reordered = 0

    @property
    def sequence(self) -> int:
        """Of the next probe."""
        return (self._base + len(self._sent)) & U32

    @property
    def settled(self) -> bool:
        """Whether everything sent was decided and reported."""
        return self._done == len(self._sent)

    def sent(self, now: int) -> None:
        self._sent.append(now)
        self._rtts.append(_PENDING)

    def came(self, sequence: int, transmitted: int, received: int, timeout: int) -> bool:
        """Count a reply; False if it answers no probe of this walk."""
        index = (sequence - self._base) & U32
        if index >= len(self._sent):
            self._late += index >= _HALF  # from before the history; else it was never sent
            return index >= _HALF
        if self._sent[index] != transmitted:
            return False
        if self._rtts[index] != _PENDING:
            self._duplicate += 1
            return True
        rtt = max(0, received - transmitted)
        if rtt > timeout or index < self._done:
            self._rtts[index] = _LATE
            self._late += 1
            return True
        self._rtts[index] = rtt
        position = self._base + index
        if position < self._highest:  # RFC 4737: a type-P reordered singleton
            self._reordered += 1
        self._highest = max(self._highest, position)
        return True

    def take(self, now: int, timeout: int) -> Record | None:
        """The run of probes decided since the last call; None if there is nothing to say.

        Every reply that arrived until `now` must have been counted before.
        """
        first = self._done
        last = min(len(self._sent), first + MAX_COUNT)
        while self._done < last and (self._rtts[self._done] >= 0 or self._sent[self._done] + timeout <= now):
            self._done += 1
        rtts = tuple(min(r // 1000, MAX_RTT) if r >= 0 else None for r in self._rtts[first : self._done])
        counts = [min(n, MAX_COUNT) for n in (self._late, self._duplicate, self._reordered)]
        record = Record(self.walk, (self._base + first) & U32, rtts, *counts)
        self._late -= counts[0]
        self._duplicate -= counts[1]
        self._reordered -= counts[2]
        self._forget(now - max(_HISTORY_NS, 4 * timeout))
        return record if rtts or any(counts) else None

    def _forget(self, before: int) -> None:
        count = 0
        while count < self._done and self._sent[count] < before:
            count += 1
        del self._sent[:count], self._rtts[:count]
        self._base += count
        self._done -= count
