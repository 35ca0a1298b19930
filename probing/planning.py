"""From paths to walks: closed ways from an agent's router out along a path and back, pinned link by link.

A walk is pinned by addressing each hop to the far-side address of its link, so routing has no say in it (an address of
a node would be reached by another way when the link is gone). It ends where it began: nothing needs to answer.

A fault is known by its signature, the set of walks it breaks. `plan_walks` picks returns and adds walks (other
returns, early turns, loops) until every half-link, every whole link and the access all walks share have signatures of
their own, and every link lies on a few walks. What no closed walk can tell apart (both directions of a bridge) is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inventory.paths import Edge, Graph, Node, Path
from probing.templates import packet_size

Hypothesis = frozenset[Edge]

MAX_LAYERS = 16


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

    `ambiguous`: groups of hypotheses (a half-link, a link as both its half-links, or `ACCESS` alone) that break the
    same walks. `uncovered`: half-links of the paths' links that no walk crosses. `refused`: paths without a walk and
    why, in a sentence.
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
    cover: int = 4,
    max_extra: int = 64,
) -> WalkPlan:
    """Walks from `start` for the paths from there to `target`.

    Deterministic. Walks of `previous` that still exist in the graph and still serve are kept as they are, so that
    their ids and histories can be kept too. Raises PlanError for a path that is not one from start to target.
    """
    raise NotImplementedError


def walk_hops(graph: Graph, walk: Walk) -> list[str]:
    """The addresses a walk is pinned to, outermost first; the innermost datagram then returns to the agent."""
    return [graph.edges[edge]["remote_address"] for edge in walk.edges]


def one_way_hops(graph: Graph, path: Path, gateway: str, target: str) -> list[str]:
    """The one-way style: by the agent's gateway and the path to the target host, which lets routing bring it back."""
    return [gateway, *(graph.edges[edge]["remote_address"] for edge in path), target]
