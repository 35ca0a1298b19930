"""Is a walk up, degraded or down? A detector per walk, fed with the ordered outcomes of its probes.

- Down: `hard_run` probes lost in a row.
- Degraded by grey loss: CUSUM (Page 1954) of the log-likelihood ratio between the normal loss p0 and the smallest
  loss worth naming p1, alarming at h = 16. The expected number of probes to a false alarm is at least e^h even when
  the true loss is p0 (Lorden 1971). p0 grows with the number of wires the walk crosses, so that a little loss on
  every wire is normal for a long walk.
- Degraded by latency: `latency_run` answers in a row slower than the threshold.
- Hysteresis: down ends after `recover_run` answers in a row, latency after as many fast ones, grey loss when the same
  ratio has fallen by `RECOVER` from its highest point since the loss was last likely.

Scores are integers (micro-nats), so how outcomes are cut into batches never changes the result. A batch costs time
for each lost probe in it, not for each probe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal

Condition = Literal["up", "degraded", "down"]
Reason = Literal["", "hard loss", "grey loss", "latency"]

HISTORY = 1024
NANO = 1_000_000
ALARM = 16 * NANO
RECOVER = 6 * NANO
WIRE_LOSS = 0.002
FAULT_LOSS = 0.05


@dataclass(frozen=True)
class Thresholds:
    """What is normal for a walk. `wires`: links it crosses, access included. `latency_us`: None means any is fine.

    At high rates raise `hard_run`: five probes at 1000/s are a hiccup of 5 ms.
    """

    wires: int
    latency_us: int | None = None
    hard_run: int = 5
    recover_run: int = 10
    latency_run: int = 5


@dataclass
class Detector:
    """The state of one walk; `to_json` and `from_json` carry it between batches.

    `history` has one bit per probe, 1 for lost, the latest in the highest of `HISTORY` bits. `since` counts the probes
    since the suspected change, 0 when nothing is suspected.
    """

    condition: Condition = "up"
    reason: Reason = ""
    seen: int = 0
    lost_run: int = 0
    good_run: int = 0
    slow_run: int = 0
    fast_run: int = 0
    score: int = 0
    recovery: int = 0
    since: int = 0
    history: int = field(default=0, repr=False)

    def feed(self, thresholds: Thresholds, bitmap: bytes, count: int, rtts_us: Sequence[int] = ()) -> bool:
        """Take in the next `count` decided probes; true when condition or reason changed.

        `bitmap` is the report's: least significant bit first, bit i set when probe i came back in time, bits from
        `count` on ignored, missing bytes read as lost. `rtts_us` are the round trips of those that came back, in
        order.
        """
        raise NotImplementedError

    def evidence(self, probes: int) -> tuple[int, int]:
        """(sent, lost) among the latest `probes` probes, at most `HISTORY` of them."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """A small dict of JSON types (also for parsers that know 64-bit integers only)."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Detector:
        raise NotImplementedError
