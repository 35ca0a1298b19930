"""Is a walk up, degraded or down? A detector per walk, fed with the ordered outcomes of its probes.

- Down: `hard_run` probes lost in a row.
- Degraded by grey loss: CUSUM (Page 1954) of the log-likelihood ratio between the normal loss p0 and the smallest
  loss worth an alarm p1, with the alarm at h = 16. The expected number of probes to a false alarm is at least e^h
  (8.9 million) even when the true loss is p0 (Lorden 1971). p0 grows with the number of wires the walk crosses, so
  that a little loss on every wire is normal for a long walk.
- Degraded by latency: `latency_run` answers in a row slower than the threshold.
- Hysteresis: down ends after `recover_run` answers in a row, latency after as many fast ones, grey loss when the same
  ratio speaks for p0 by `RECOVER`.

Scores are integers (millionths of a nat), so the way outcomes are cut into batches never changes the result. A batch
costs time for each run of lost probes in it, not for each probe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal

Condition = Literal["up", "degraded", "down"]
Reason = Literal["", "hard loss", "grey loss", "latency"]

HISTORY = 1024
NAT = 1_000_000
ALARM = 16 * NAT
RECOVER = 6 * NAT
WIRE_LOSS = 0.002


@dataclass(frozen=True)
class Thresholds:
    """What is normal for a walk.

    `wires`: links it crosses, the agent's own included. `loss`: the additional loss (0..1) worth an alarm.
    `latency_us`: round trip worth an alarm, None for any. The runs are numbers of probes; at high rates raise
    `hard_run` (at 1000 probes/s five of them are a hiccup of 5 ms).
    """

    wires: int
    loss: float = 0.05
    latency_us: int | None = None
    hard_run: int = 5
    recover_run: int = 10
    latency_run: int = 5


@dataclass
class Detector:
    """The state of one walk, small enough to be stored as JSON between batches.

    `history` has one bit per probe, 1 for lost, the latest probe in the highest of `HISTORY` bits. `score` is the CUSUM
    and `since` the probes since it was last zero; `down_since` the probes since the run of losses began that made it
    down. `was_grey` is what hard loss interrupted and what its end returns to.
    """

    hard: bool = False
    grey: bool = False
    slow: bool = False
    was_grey: bool = False
    seen: int = 0
    lost_run: int = 0
    good_run: int = 0
    slow_run: int = 0
    fast_run: int = 0
    score: int = 0
    recovery: int = 0
    since: int = 0
    down_since: int = 0
    history: int = field(default=0, repr=False)

    @property
    def condition(self) -> Condition:
        if self.hard:
            return "down"
        return "degraded" if self.grey or self.slow else "up"

    @property
    def reason(self) -> Reason:
        if self.hard:
            return "hard loss"
        return "grey loss" if self.grey else "latency" if self.slow else ""

    @property
    def suspected(self) -> int:
        """Probes since the loss that raised the alarm began; 0 without an alarm for loss."""
        if self.hard and not self.was_grey:
            return self.down_since
        return self.since if self.grey else 0

    def feed(self, thresholds: Thresholds, bitmap: bytes, count: int, rtts_us: Sequence[int] = ()) -> bool:
        """Take in the next `count` decided probes; true when condition or reason changed.

        `bitmap` is the report's: least significant bit first, bit i set when probe i came back in time. Bits from
        `count` on are ignored, missing bytes read as lost. `rtts_us` are the round trips in microseconds of the probes
        that came back, in order.
        """
        if count <= 0:
            return False
        before = (self.condition, self.reason)
        bad, good = _steps(thresholds.wires, thresholds.loss)
        lost = ~int.from_bytes(bitmap, "little") & ((1 << count) - 1)
        self.seen += count
        self._remember(lost, count)
        while lost:
            received = (lost & -lost).bit_length() - 1
            lost >>= received
            if received:
                self._received(received, good, thresholds.recover_run)
            run = (~lost & (lost + 1)).bit_length() - 1
            lost >>= run
            self._lost(run, bad, thresholds.hard_run)
            count -= received + run
        if count:
            self._received(count, good, thresholds.recover_run)
        self._timed(rtts_us, thresholds)
        return before != (self.condition, self.reason)

    def evidence(self, probes: int) -> tuple[int, int]:
        """(sent, lost) among the latest `probes` probes, of which at most `HISTORY` are remembered."""
        sent = max(0, min(probes, self.seen, HISTORY))
        return sent, (self.history >> (HISTORY - sent)).bit_count()

    def to_json(self) -> dict[str, Any]:
        """A flat dict of booleans, small integers and one hexadecimal string."""
        return {**asdict(self), "history": f"{self.history:x}"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Detector:
        """What `to_json` gave; raises TypeError, KeyError or ValueError for anything else."""
        return cls(**{**data, "history": int(data["history"], 16)})

    def _remember(self, lost: int, count: int) -> None:
        if count >= HISTORY:
            self.history = lost >> (count - HISTORY)
        else:
            self.history = (self.history >> count) | (lost << (HISTORY - count))

    def _received(self, run: int, good: int, recover_run: int) -> None:
        self.lost_run = 0
        self.good_run += run
        if self.hard:
            self.down_since += run
            if self.good_run >= recover_run:
                self.hard = False
                self.down_since = 0
                self.grey = self.was_grey
                if not self.grey:
                    self._clear()
        if self.grey:
            self.since += run
            self.recovery += run * good
            if self.recovery >= RECOVER:
                self.grey = self.was_grey = False
                self._clear()
        elif self.score:
            self.since += run
            self.score -= run * good
            if self.score <= 0:
                self._clear()

    def _lost(self, run: int, bad: int, hard_run: int) -> None:
        if not self.hard and not self.lost_run:
            self.was_grey = self.grey
        self.good_run = 0
        self.lost_run += run
        self.since += run
        if self.grey:
            self.recovery = max(0, self.recovery - run * bad)
        else:
            self.score = min(ALARM, self.score + run * bad)
            self.grey = self.score == ALARM
        if self.hard:
            self.down_since += run
        elif self.lost_run >= hard_run:
            self.hard = True
            self.down_since = self.lost_run

    def _clear(self) -> None:
        self.score = self.recovery = self.since = 0

    def _timed(self, rtts_us: Sequence[int], thresholds: Thresholds) -> None:
        limit = thresholds.latency_us
        if limit is None:
            self.slow = False
            self.slow_run = self.fast_run = 0
            return
        for rtt in rtts_us:
            if rtt > limit:
                self.fast_run = 0
                self.slow_run += 1
                self.slow = self.slow or self.slow_run >= thresholds.latency_run
            else:
                self.slow_run = 0
                self.fast_run += 1
                self.slow = self.slow and self.fast_run < thresholds.recover_run


def shared_window(detectors: Iterable[Detector]) -> int:
    """How many of the latest probes of each walk to localise on: those since the newest alarm for loss began.

    For walks probed at the same rate. 0 when no walk alarms for loss.
    """
    return min((detector.suspected for detector in detectors if detector.suspected), default=0)


@lru_cache(maxsize=1024)
def _steps(wires: int, loss: float) -> tuple[int, int]:
    """What a lost probe adds to the score and what a received one takes from it."""
    normal = 1 - (1 - WIRE_LOSS) ** max(1, wires)
    faulty = normal + loss - normal * loss
    return (
        max(1, round(math.log(faulty / normal) * NAT)),
        max(1, round(math.log((1 - normal) / (1 - faulty)) * NAT)),
    )
