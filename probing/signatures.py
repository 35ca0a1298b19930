"""Which faults a set of walks can tell apart: each hypothesis is known by the walks it breaks, its signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TypeAlias

Edge: TypeAlias = tuple[Hashable, Hashable, Hashable]
Hypothesis: TypeAlias = frozenset[Hashable]

ACCESS = "access"
HEALTHY_BIT, ACCESS_BIT = 1, 2


class Signatures:
    """The hypotheses about some links, grouped by the walks seen so far that they would break.

    Hypotheses are each half-link, each whole link, the access (which every walk crosses), and that all is well.
    Sets are integers with a bit per hypothesis, so that a walk is weighed in microseconds.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._broken_by: dict[Edge, int] = {}
        self._hypotheses: list[Hypothesis] = [frozenset(), frozenset({ACCESS})]
        for a, b, key in edges:
            if (a, b, key) in self._broken_by:
                continue
            there, back, both = (1 << len(self._hypotheses) + i for i in range(3))
            halves = ((a, b, key), (b, a, key))
            self._broken_by |= {halves[0]: there | both, halves[1]: back | both}
            self._hypotheses += [frozenset(halves[:1]), frozenset(halves[1:]), frozenset(halves)]
        self._groups = [(1 << len(self._hypotheses)) - 1]
        self._crossed: Counter[Hashable] = Counter()

    def unknown(self, walk: Iterable[Edge]) -> int:
        """How many half-links of the walk are not among the hypotheses."""
        return sum(edge not in self._broken_by for edge in walk)

    def gain(self, walk: Iterable[Edge]) -> int:
        """How many pairs of hypotheses this walk would tell apart that no walk did so far."""
        broken = self._broken(walk)
        hits = ((group & broken).bit_count() * (group & ~broken).bit_count() for group in self._groups)
        return sum(hits)

    def cover_gain(self, walk: Iterable[Edge], cover: int) -> int:
        """How many links and half-links it brings closer to lying on `cover` walks."""
        edges = list(walk)
        links = {edge[2] for edge in edges}
        return sum(self._crossed[link] < cover for link in links) + sum(self._crossed[e] < cover for e in edges)

    def add(self, walk: Iterable[Edge]) -> None:
        edges = list(walk)
        broken = self._broken(edges)
        halves = (half for group in self._groups for half in (group & broken, group & ~broken))
        self._groups = [half for half in halves if half]
        self._crossed.update({edge[2] for edge in edges})
        self._crossed.update(set(edges))

    def forgotten(self) -> Signatures:
        """The same hypotheses with no walk added yet."""
        return Signatures(self._broken_by)

    def unresolved(self) -> list[list[Hypothesis]]:
        """The groups of more than one hypothesis; one that starts with the empty hypothesis goes unnoticed."""
        return [
            [its for bit, its in enumerate(self._hypotheses) if group >> bit & 1]
            for group in self._groups
            if group.bit_count() > 1
        ]

    def _broken(self, walk: Iterable[Edge]) -> int:
        broken = ACCESS_BIT
        for edge in walk:
            broken |= self._broken_by.get(edge, 0)
        return broken
