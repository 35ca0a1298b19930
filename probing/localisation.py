"""Which link is it? Noisy-OR localisation over the evidence of all walks.

A probe gets lost when any faulty element on its walk loses it, or by the background. The best explanation is searched
greedily, one fault at a time (as long as it gains more than `THRESHOLD` nats of log-likelihood), then improved by
exchanging faults. Every walk may lie: with a small probability its counts say nothing, which bounds what a single
walk can prove or disprove. Candidates that explain the evidence equally well are named together.

After Kompella et al., "Detection and localization of network black holes" (INFOCOM 2007) and Kandula et al.,
"Shrink" (SIGCOMM MineNet 2005), with partial loss.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Element: TypeAlias = Hashable
Kind = Literal["link", "half_link", "access"]

ACCESS = "access"
THRESHOLD = 6.0


@dataclass(frozen=True)
class WalkEvidence:
    """What a walk saw: the directed half-links it crosses, probes sent and lost in the window all walks share."""

    walk_id: Hashable
    elements: tuple[Element, ...]
    sent: int
    lost: int


@dataclass(frozen=True)
class Candidate:
    """Something that may be broken: `elements` fail together. `access` is what all walks share (the agent's side)."""

    kind: Kind
    elements: frozenset[Element]


@dataclass(frozen=True)
class Fault:
    """One root cause. `candidates` is the honest set, most likely first; exactly one of them is broken.

    `rate`: loss it causes, 0..1. `gain`: nats of log-likelihood it explains. `margin`: nats by which the best
    candidate outside the honest set is worse.
    """

    candidates: tuple[Candidate, ...]
    rate: float
    gain: float
    margin: float

    @property
    def exact(self) -> bool:
        return len(self.candidates) == 1


@dataclass(frozen=True)
class Score:
    """A line of the explanation: how well this candidate alone explains the evidence, and the walks through it."""

    candidate: Candidate
    gain: float
    rate: float
    sent: int
    lost: int
    walks: tuple[Hashable, ...]


@dataclass(frozen=True)
class Verdict:
    """`faults` is empty when the evidence is too thin. `scores`: best first.

    `stable` is false while a candidate that more probes could still rule out is nearly as good: better wait.
    """

    faults: tuple[Fault, ...]
    scores: tuple[Score, ...]
    stable: bool


def link_candidates(links: Iterable[tuple[Element, Element]]) -> list[Candidate]:
    """Candidates of links given as pairs of half-links: each link, each of its directions, and the access."""
    raise NotImplementedError


def localise(evidence: Sequence[WalkEvidence], candidates: Sequence[Candidate], max_faults: int = 4) -> Verdict:
    """The set of faults that explains the evidence best; the access is always weighed, listed or not."""
    raise NotImplementedError
