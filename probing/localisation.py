"""Which link is it? Noisy-OR localisation over the evidence of all walks.

A probe gets lost when a faulty element on its walk loses it, or by the background. The best explanation is searched
greedily, a fault at a time as long as it gains more than `THRESHOLD` nats of log-likelihood, then improved by
exchanging faults. Every walk may lie: with probability `LIE` its counts say nothing, which bounds what one walk alone
can prove or disprove. Candidates that explain the evidence about equally well are named together.

After Kompella et al., "Detection and Localization of Network Black Holes" (INFOCOM 2007), and Kandula et al.,
"Shrink" (SIGCOMM MineNet 2005), here with partial loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma, log, log1p
from typing import Literal, TypeAlias

from probing.signatures import ACCESS

Element: TypeAlias = Hashable
Kind = Literal["link", "half_link", "access"]

THRESHOLD = 8.0
MARGIN = 3.0
LEADERS = 32
LIE = 0.005
# Loss that all walks may have besides: the value that explains most is taken.
USUAL = (0.0, 0.02, 0.05)
BACKGROUND = 0.05
FAINT = 0.03
WIRE_LOSS = 0.002
RATES = (0.02, 0.04, 0.07, 0.11, 0.16, 0.22, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.96, 0.999)
# Nats by which a kind is less likely than another that explains the same: cables break more often than directions.
PRIOR: dict[Kind, float] = {"link": 0.0, "access": 0.5, "half_link": 1.0}


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
    """One root cause. `candidates` is the honest set, most likely first: one of them is broken.

    `rate`: share of packets the first one loses, 0..1. `gain`: nats of log-likelihood it explains beside the other
    faults. `margin`: nats by which the best candidate outside the honest set is worse (infinite if there is none).
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
    """A line of the explanation: how well this candidate alone explains the evidence, and the walks that cross it."""

    candidate: Candidate
    gain: float
    rate: float
    sent: int
    lost: int
    walks: tuple[Hashable, ...]


@dataclass(frozen=True)
class Verdict:
    """`faults` is empty when the evidence is too thin. `scores`: best first.

    `stable` is false while a candidate that more probes can still rule out is nearly as good as a named one, or a walk
    contradicts what is named: better wait, though not for ever.
    """

    faults: tuple[Fault, ...]
    scores: tuple[Score, ...]
    stable: bool


def link_candidates(links: Iterable[tuple[Element, Element]]) -> list[Candidate]:
    """Candidates of links given as pairs of half-links: each link and each of its directions."""
    return [
        candidate
        for there, back in links
        for candidate in (
            Candidate("link", frozenset({there, back})),
            Candidate("half_link", frozenset({there})),
            Candidate("half_link", frozenset({back})),
        )
    ]


def localise(evidence: Sequence[WalkEvidence], candidates: Sequence[Candidate], max_faults: int = 4) -> Verdict:
    """The set of faults that explains the evidence best; the access is always a candidate, listed or not.

    Walks may have different numbers of probes, also none. A link that a walk crosses in both directions counts twice.
    """
    searches = [_Search(evidence, candidates, usual) for usual in USUAL]
    search = max(searches, key=lambda its: its.objective(its.explain(1, max_faults)[0]))
    found = search.explain(3, max_faults)
    if len(found[0]) > 1:
        found = search.explain(LEADERS, max_faults)
    best = found[0]
    rivals = [other for other in found if search.objective(other) > search.objective(best) - MARGIN]
    faults = [search.fault(best, place, rivals) for place in range(len(best)) if not search.background(best[place])]
    table = sorted((search.line(index, *score) for index, score in search.alone.items()), key=lambda its: -its.gain)
    stable = all(settled for _, settled in faults) and not (faults and search.contradicted(best))
    return Verdict(tuple(fault for fault, _ in faults), tuple(table), stable)


@dataclass(frozen=True)
class _Named:
    candidate: int
    rate: float


@dataclass
class _Counts:
    """A walk's counts with what does not depend on the explanation: its normal loss and what its lie is worth."""

    sent: int
    lost: int
    normal: float
    lie: float
    known: dict[float, float] = field(default_factory=dict)

    def likelihood(self, survival: float) -> float:
        """Log-probability of the counts when a probe survives the faults so often."""
        known = self.known.get(survival)
        if known is None:
            known = self.known[survival] = self._likelihood(survival)
        return known

    def contradicts(self, survival: float) -> bool:
        """Whether these counts are far more likely to be a lie."""
        return self.lie > self._honest(survival) + MARGIN

    def _honest(self, survival: float) -> float:
        arrives = (1 - self.normal) * survival
        return (self.sent - self.lost) * log(arrives) + (self.lost and self.lost * log1p(-arrives))

    def _likelihood(self, survival: float) -> float:
        honest = self._honest(survival)
        high, low = max(honest, self.lie), min(honest, self.lie)
        return high + log1p(exp(low - high))


class _Search:
    def __init__(self, evidence: Sequence[WalkEvidence], candidates: Sequence[Candidate], usual: float) -> None:
        access = Candidate("access", frozenset({ACCESS}))
        self.candidates = list(dict.fromkeys([*candidates, access]))
        self.evidence = evidence
        self.walks = [_counts(walk, usual) for walk in evidence]
        where: dict[Element, list[int]] = {}
        for index, walk in enumerate(self.evidence):
            for element in (*walk.elements, ACCESS):
                where.setdefault(element, []).append(index)
        self.crossings = [
            Counter(index for element in candidate.elements for index in where.get(element, ()))
            for candidate in self.candidates
        ]
        self.relevant: Sequence[int] = range(len(self.candidates))
        self._scores: dict[frozenset[_Named], dict[int, tuple[float, float]]] = {}
        self.alone = self.scores([])
        self.relevant = [index for index, (gain, _) in self.alone.items() if gain > 1]

    def background(self, fault: _Named) -> bool:
        """A little loss, more so on all walks alike, is the weather and no fault; it still has to be explained."""
        return fault.rate < (BACKGROUND if self.candidates[fault.candidate].kind == "access" else FAINT)

    def survivals(self, faults: Iterable[_Named]) -> list[float]:
        survivals = [1.0] * len(self.walks)
        for fault in faults:
            for walk, times in self.crossings[fault.candidate].items():
                survivals[walk] *= (1 - fault.rate) ** times
        return survivals

    def objective(self, faults: Sequence[_Named]) -> float:
        """Log-likelihood less what each fault must bring."""
        likelihood = sum(walk.likelihood(its) for walk, its in zip(self.walks, self.survivals(faults), strict=True))
        return likelihood - sum(THRESHOLD + self.handicap(fault.candidate) for fault in faults)

    def contradicted(self, faults: Sequence[_Named]) -> bool:
        """Whether a walk's counts can hardly be true if these are the faults."""
        return any(walk.contradicts(its) for walk, its in zip(self.walks, self.survivals(faults), strict=True))

    def handicap(self, candidate: int) -> float:
        return PRIOR[self.candidates[candidate].kind]

    def scores(self, faults: Iterable[_Named]) -> dict[int, tuple[float, float]]:
        """For each candidate worth a look the most it would gain beside these faults, and its rate then."""
        key = frozenset(faults)
        if key not in self._scores:
            survivals = self.survivals(key)
            now = [walk.likelihood(its) for walk, its in zip(self.walks, survivals, strict=True)]
            self._scores[key] = {index: self._score(self.crossings[index], survivals, now) for index in self.relevant}
        return self._scores[key]

    def _score(self, crossings: Counter[int], survivals: list[float], now: list[float]) -> tuple[float, float]:
        if not any(self.walks[walk].lost for walk in crossings):
            return 0.0, 0.0
        before = sum(now[walk] for walk in crossings)
        return max(
            (
                sum(
                    self.walks[walk].likelihood(survivals[walk] * (1 - rate) ** times)
                    for walk, times in crossings.items()
                )
                - before,
                rate,
            )
            for rate in RATES
        )

    def explain(self, leaders: int, max_faults: int) -> list[list[_Named]]:
        """Explanations found from so many of the best candidates, and the empty one; the best first."""
        order = sorted(self.relevant, key=lambda index: -self.alone[index][0])[:leaders]
        found = [[], *(self.improve(leader, max_faults) for leader in order)]
        return sorted(found, key=self.objective, reverse=True)

    def improve(self, leader: int, max_faults: int) -> list[_Named]:
        """Starting from one candidate, add and exchange faults as long as the objective grows."""
        faults = [_Named(leader, self.alone[leader][1])]
        while len(faults) < max_faults:
            index, gain, rate = self._best(faults)
            if gain <= THRESHOLD:
                break
            faults = self._exchange([*faults, _Named(index, rate)])
        return faults

    def _best(self, faults: Sequence[_Named]) -> tuple[int, float, float]:
        """The candidate that would gain most beside these faults, its gain less its handicap, and its rate."""
        scores = self.scores(faults)
        index = max(scores, key=lambda its: scores[its][0] - self.handicap(its))
        gain, rate = scores[index]
        return index, gain - self.handicap(index), rate

    def _exchange(self, faults: list[_Named]) -> list[_Named]:
        """Let the best candidate take each fault's place in turn, until each is the best in its own."""
        for _ in range(4):
            before = faults
            for place in range(len(faults)):
                others = faults[:place] + faults[place + 1 :]
                index, gain, rate = self._best(others)
                faults = [*others[:place], _Named(index, rate), *others[place:]] if gain > THRESHOLD else faults
            if faults == before:
                break
        return faults

    def fault(self, faults: Sequence[_Named], place: int, rivals: Iterable[Sequence[_Named]]) -> tuple[Fault, bool]:
        """The named fault with its honest set, and whether more probes cannot make that set smaller.

        In the set are candidates that could take this fault's place alone, and those of rival explanations as a whole.
        """
        named = faults[place].candidate
        scores = self.scores([*faults[:place], *faults[place + 1 :]])
        net = {index: gain - self.handicap(index) for index, (gain, _) in scores.items()}
        walks = self.crossings[named].keys()
        others = {its.candidate for rival in rivals for its in rival} - {its.candidate for its in faults}
        joint = {index for index in others if self.crossings[index].keys() & walks}
        ranked = sorted(net, key=lambda index: (index != named, -net[index]))
        honest = [index for index in ranked if net[index] >= net[named] - MARGIN or index in joint]
        rest = [net[index] for index in ranked if index not in honest]
        stable = all(self.crossings[index].keys() == walks for index in honest)
        gain, rate = scores[named]
        margin = net[named] - max(rest) if rest else float("inf")
        return Fault(tuple(self.candidates[index] for index in honest), rate, gain, margin), stable

    def line(self, index: int, gain: float, rate: float) -> Score:
        walks = [self.evidence[walk] for walk in sorted(self.crossings[index])]
        sent, lost = sum(walk.sent for walk in walks), sum(walk.lost for walk in walks)
        return Score(self.candidates[index], gain, rate, sent, lost, tuple(walk.walk_id for walk in walks))


def _counts(walk: WalkEvidence, usual: float) -> _Counts:
    normal = max(usual, 1 - (1 - WIRE_LOSS) ** (len(walk.elements) + 1))
    orders = lgamma(walk.sent + 1) - lgamma(walk.lost + 1) - lgamma(walk.sent - walk.lost + 1)
    return _Counts(walk.sent, walk.lost, normal, log(LIE) - log(walk.sent + 1) - orders)
