"""From paths to walks: closed ways from an agent's router out along a path and back, pinned link by link.

A walk is pinned by addressing each hop to the far-side address of its link, so routing has no say in it (an address of
a node would be reached by another way when the link is gone). It ends where it began: nothing needs to answer.

A fault is known by its signature, the set of walks it breaks. `plan_walks` picks returns and adds walks (other
returns, early turns, loops) until every half-link, every whole link and the access all walks share have signatures of
their own, and every link lies on a few walks. What no closed walk can tell apart (both directions of a bridge) is said.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from itertools import pairwise
from math import isqrt
from typing import Any

import networkx as nx

from inventory.paths import Edge, Graph, Node, Path, reverse, within_hops
from probing.packets import INNERMOST, LAYER, packet_size
from probing.signatures import Hypothesis, Signatures

MAX_LAYERS = 16
POOL = 4000
# Costs of a link when looking for a return: one that the way out has, and one that no path has.
SHARED, NEW = 1_000_000, 3


class PlanError(ValueError):
    """A plan that cannot be made; the text is one sentence for the user."""


@dataclass(frozen=True)
class Walk:
    """Out and back; two walks are the same when they are pinned to the same edges in order."""

    out: Path
    back: Path

    @property
    def edges(self) -> Path:
        return self.out + self.back


@dataclass(frozen=True)
class WalkPlan:
    """Walks, first the one of each path in order (`Walk.out` is the path), then the ones added to tell faults apart.

    `ambiguous`: groups of hypotheses that break the same walks; a hypothesis is a half-link {edge}, a whole link {edge,
    reverse edge}, or the agent's access {ACCESS}. `uncovered`: half-links of links in the plan that no walk crosses.
    `refused`: paths without a walk and why, in a sentence.
    """

    walks: tuple[Walk, ...]
    ambiguous: tuple[frozenset[Hypothesis], ...]
    uncovered: frozenset[Edge]
    refused: tuple[tuple[Path, str], ...]


def plan_walks(
    graph: Graph,
    start: Node,
    target: Node,
    paths: Sequence[Path],
    *,
    previous: Iterable[Walk] = (),
    max_layers: int = MAX_LAYERS,
    mtu: int = 1500,
    redundancy: int = 2,
    cover: int = 4,
    max_extra: int = 256,
) -> WalkPlan:
    """Walks from `start` for the paths from there to `target`.

    Deterministic. Walks of `previous` that still exist in the graph and still serve are kept as they are, so that
    their ids and histories can be kept too. `redundancy`: how many times over faults are told apart, so that one walk
    that lies cannot swap them. `cover`: on how many walks each half-link should lie if possible. At most `max_extra`
    walks are added to those of the paths. Raises PlanError for a path that is not one from start to target.
    """
    for path in paths:
        _check(graph, start, target, path)
    planner = _Planner(graph, start, min(max_layers, (mtu - INNERMOST) // LAYER))
    kept = [walk for walk in previous if planner.valid(walk)]
    served: list[Path] = []
    refused: list[tuple[Path, str]] = []
    for path in dict.fromkeys(path for path in paths if path):
        if 2 * len(path) > planner.limit and not planner.returns(path, [path]):
            refused.append((path, planner.refusal(path)))
        else:
            served.append(path)
    planner.choose_returns(served, {walk.out: walk for walk in reversed(kept)})
    planner.separate(kept, redundancy, cover, max_extra)
    groups = planner.signatures.unresolved()
    ambiguous = tuple(frozenset(group) for group in groups if group[0])
    uncovered = frozenset(edge for group in groups if not group[0] for edge in _edges(group))
    return WalkPlan(tuple(planner.walks), ambiguous, uncovered, tuple(refused))


def walk_hops(graph: Graph, walk: Walk) -> list[str]:
    """The addresses a walk is pinned to, outermost first; the innermost datagram then returns to the agent."""
    return [graph.edges[edge]["remote_address"] for edge in walk.edges]


def one_way_hops(graph: Graph, path: Path, gateway: str, target: str) -> list[str]:
    """The one-way style: by the agent's gateway and the path to the target host, which lets routing bring it back."""
    return [gateway, *(graph.edges[edge]["remote_address"] for edge in path), target]


class _Planner:
    """The walks chosen so far and what they tell apart. Iterates over lists and dicts only: sets have no order."""

    def __init__(self, graph: Graph, start: Node, limit: int) -> None:
        self.graph = graph
        self.start = start
        self.limit = limit
        self.walks: list[Walk] = []
        self.signatures = Signatures([])

    def valid(self, walk: Walk) -> bool:
        edges = walk.edges
        return (
            0 < len(edges) <= self.limit
            and edges[0][0] == self.start == edges[-1][1]
            and len(set(edges)) == len(edges)
            and all(self.graph.has_edge(*edge) for edge in edges)
        )

    def refusal(self, path: Path) -> str:
        need = 2 * len(path)
        return (
            f"The path over {len(path)} links needs {need} GRE layers ({packet_size(need)} B) out and back, but only "
            f"{self.limit} fit: raise the MTU or the layer limit, choose shorter paths, or probe it one way."
        )

    def returns(self, path: Path, paths: Sequence[Path]) -> list[Path]:
        """Ways back for this path that share the fewest links with it, known links first."""
        target = path[-1][1]
        penalties = dict.fromkeys((edge[2] for edge in path), SHARED)
        direct = self._cheapest(target, self.start, {}), self._cheapest(target, self.start, penalties)
        ways = dict.fromkeys([*map(_turned, paths), *filter(None, direct), _turned(path)])
        fitting = [way for way in ways if self.valid(Walk(path, way))]
        costs = [(_shared(path, way), self.signatures.unknown(way)) for way in fitting]
        return [way for way, cost in zip(fitting, costs, strict=True) if cost == min(costs)][:32]

    def choose_returns(self, paths: Sequence[Path], known: dict[Path, Walk]) -> None:
        """A walk for each path: the known one if its return is as good as any, else the one that separates most."""
        self.signatures = Signatures(edge for path in paths for edge in path)
        for path in paths:
            backs = self.returns(path, paths)
            back = known[path].back if path in known else None
            if back is None or _shared(path, back) > _shared(path, backs[0]):
                gains = [(self.signatures.gain(path + way), -len(way)) for way in backs]
                back = backs[gains.index(max(gains))]
            self._add(Walk(path, back))

    def separate(self, kept: Sequence[Walk], redundancy: int, cover: int, max_extra: int) -> None:
        """Add walks until all hypotheses differ so many times over and all links are covered, or nothing helps."""
        most = len(self.walks) + max_extra
        self._suspect_all()
        self._greedy(kept, self.signatures.gain, most)
        self._greedy(self._pool(), self.signatures.gain, most)
        if groups := self.signatures.unresolved():
            self._greedy(self._loops(groups), self.signatures.gain, most)
            self._suspect_all()
            self._greedy(self._pool(), self.signatures.gain, most)
        everything, pool = self.signatures, self._pool()
        for _ in range(redundancy - 1):
            self.signatures = everything.forgotten()
            self._greedy(kept, self.signatures.gain, most)
            self._greedy(pool, self.signatures.gain, most)
        self._suspect_all()
        for walks in (kept, pool):
            self._greedy(walks, lambda walk: self.signatures.cover_gain(walk, cover), most)

    def _add(self, walk: Walk) -> None:
        self.walks.append(walk)
        self.signatures.add(walk.edges)

    def _suspect_all(self) -> None:
        """Everything a walk crosses is a suspect, also the links that only returns use."""
        self.signatures = Signatures(edge for walk in self.walks for edge in walk.edges)
        for walk in self.walks:
            self.signatures.add(walk.edges)

    def _greedy(self, pool: Iterable[Walk], gain: Callable[[Path], int], most: int) -> None:
        """Add the walk that gains most until none gains; gains only shrink, so most need not be computed again."""
        present = {walk.edges for walk in self.walks}
        walks = [walk for walk in pool if walk.edges not in present]
        heap = [(-gain(walk.edges), index) for index, walk in enumerate(walks)]
        heapify(heap)
        while heap and heap[0][0] and len(self.walks) < most:
            promised, index = heap[0]
            actual = -gain(walks[index].edges)
            if actual == promised:
                self._add(walks[index])
                heappop(heap)
            else:
                heapreplace(heap, (actual, index))

    def _pool(self) -> list[Walk]:
        """Walks over the suspected links: to each node one way, and back another or the same."""
        known: Graph = nx.MultiDiGraph()
        known.add_nodes_from([self.start])
        for edge in dict.fromkeys(edge for walk in self.walks for edge in walk.edges):
            known.add_edge(*edge)
            known.add_edge(*reverse(edge))
        most = max(2, isqrt(POOL // len(known)))
        pool: dict[Path, Walk] = {}
        for node in known:
            if node == self.start:
                continue
            ways = [*self._prefixes(node), *within_hops(known, self.start, node, 2, most).paths]
            ways = list(dict.fromkeys(ways))[:most]
            for walk in (Walk(out, _turned(back)) for out in ways for back in ways):
                if self.valid(walk):
                    pool.setdefault(walk.edges, walk)
        return list(pool.values())

    def _prefixes(self, node: Node) -> Iterator[Path]:
        """Beginnings of the walks so far, and of their returns turned round, up to this node."""
        for walk in self.walks:
            for path in (walk.out, _turned(walk.back)):
                for length, edge in enumerate(path, 1):
                    if edge[1] == node:
                        yield path[:length]
                        break

    def _loops(self, groups: Sequence[Sequence[Hypothesis]]) -> Iterator[Walk]:
        """For each half-link that is not told apart: straight to it, over it, and back by other links if possible."""
        for edge in dict.fromkeys(edge for group in groups for edge in _edges(group)):
            out = self._cheapest(self.start, edge[0], {edge[2]: SHARED})
            if out is None or edge in out:
                continue
            out = (*out, edge)
            back = self._cheapest(edge[1], self.start, dict.fromkeys((its[2] for its in out), SHARED))
            if back is not None and self.valid(walk := Walk(out, back)):
                yield walk

    def _cheapest(self, source: Node, target: Node, penalties: Mapping[Hashable, int]) -> Path | None:
        """The path with the fewest links, where penalised links and links that are no suspects count for more."""

        def cost(edge: Edge) -> int:
            return 1 + penalties.get(edge[2], 0) + NEW * self.signatures.unknown([edge])

        def weight(u: Node, v: Node, links: dict[Any, Any]) -> int:
            return min(cost((u, v, key)) for key in links)

        try:
            nodes = nx.dijkstra_path(self.graph, source, target, weight=weight)
        except nx.NetworkXNoPath:
            return None
        return tuple(min(((u, v, key) for key in self.graph.adj[u][v]), key=cost) for u, v in pairwise(nodes))


def _check(graph: Graph, start: Node, target: Node, path: Path) -> None:
    ends = [start, *(edge[1] for edge in path)]
    joined = [edge[0] for edge in path] == ends[:-1] and ends[-1] == target
    if not joined or not all(graph.has_edge(*edge) for edge in path):
        raise PlanError(f"A path given is not one from {start} to {target} in the topology; list the paths anew.")


def _edges(group: Iterable[Hypothesis]) -> Iterator[Edge]:
    """The half-links among the hypotheses."""
    for hypothesis in group:
        for element in hypothesis if len(hypothesis) == 1 else ():
            if isinstance(element, tuple):
                yield element


def _turned(path: Path) -> Path:
    return tuple(reverse(edge) for edge in reversed(path))


def _shared(path: Path, other: Path) -> int:
    """How many links two paths have in common, whichever their direction."""
    links = {edge[2] for edge in path}
    return sum(edge[2] in links for edge in other)
