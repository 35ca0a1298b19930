"""Paths through the network graph: which ways a packet can take between two nodes.

The graph is a `networkx.MultiDiGraph` whose edges are half-links (RFC 9552). An `Edge` is `(u, v, key)`: the
half-link from u to v. `key` is the undirected link, so the other half of `(u, v, key)` is `(v, u, key)`, and
parallel links are different links. Edge attributes: `metric: int`, `local_address: str`, `remote_address: str`
(the far side, where a pinned hop is addressed), `delay_us: int | None`, `link: Hashable` (the key) and
`half_link: Hashable` (the caller's id of the half-link).

Nothing here knows Django. A path is a tuple of edges; the path from a node to itself is the empty tuple.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise, product
from typing import TypeAlias

import networkx as nx

Node: TypeAlias = Hashable
Edge: TypeAlias = tuple[Node, Node, Hashable]
Path: TypeAlias = tuple[Edge, ...]
Graph: TypeAlias = "nx.MultiDiGraph[Node]"

LIMIT = 1000


class PathError(ValueError):
    """A question about paths that has no answer; the text is one sentence for the user."""


@dataclass(frozen=True)
class HalfLink:
    """One direction of a link as its own router announces it (RFC 9552 link NLRI).

    `link` names the undirected link both halves share; without it the pair of addresses does.
    `metric` is the IGP metric; values under 1 count as 1, because a free edge would make equal-cost cycles.
    """

    node: Node
    neighbor: Node
    local_address: str
    remote_address: str
    metric: int = 1
    delay_us: int | None = None
    up: bool = True
    link: Hashable = None
    id: Hashable = None

    @property
    def link_id(self) -> Hashable:
        if self.link is not None:
            return self.link
        return "|".join(sorted((self.local_address, self.remote_address)))


@dataclass(frozen=True)
class PathSet:
    """Paths, best first, and how many there are.

    `truncated` says that not all are listed. `count` is exact unless truncated, and for `all_shortest` always.
    """

    paths: list[Path]
    count: int
    truncated: bool


@dataclass(frozen=True)
class ShortestDag:
    """All shortest paths at once: the outgoing edges of each node on any of them (empty when disconnected)."""

    distance: int
    successors: dict[Node, tuple[Edge, ...]]
    count: int


def build_graph(half_links: Iterable[HalfLink], nodes: Iterable[Node] = ()) -> Graph:
    """The graph of all links whose two half-links are both there and up.

    This is the two-way connectivity check of link-state routing (ISO 10589 7.2.8, RFC 2328 16.1). The result does not
    depend on the order of the rows. `nodes` adds nodes that may have no link.
    """
    halves = {(half.node, half.neighbor, half.link_id): half for half in half_links if half.up}
    graph: Graph = nx.MultiDiGraph()
    graph.add_nodes_from(sorted({*nodes, *(edge[0] for edge in halves)}, key=repr))
    for (node, neighbor, link), half in sorted(halves.items(), key=lambda item: repr(item[0])):
        if node == neighbor or (neighbor, node, link) not in halves:
            continue
        graph.add_edge(
            node,
            neighbor,
            link,
            metric=max(1, half.metric),
            local_address=half.local_address,
            remote_address=half.remote_address,
            delay_us=half.delay_us,
            link=link,
            half_link=half.id,
        )
    return graph


def reverse(edge: Edge) -> Edge:
    """The other half of the same link."""
    return (edge[1], edge[0], edge[2])


def path_nodes(path: Path) -> list[Node]:
    """The nodes along a non-empty path, both ends included."""
    return [path[0][0], *(edge[1] for edge in path)] if path else []


def shortest_dag(graph: Graph, source: Node, target: Node) -> ShortestDag:
    """The directed acyclic graph of all metric-shortest paths and their exact number; raises PathError."""
    _check(graph, source, target)
    to_target = nx.single_source_dijkstra_path_length(graph.reverse(copy=False), target, weight="metric")
    distance = {node: int(metric) for node, metric in to_target.items()}
    if source not in distance:
        return ShortestDag(0, {}, 0)
    successors: dict[Node, tuple[Edge, ...]] = {target: ()}
    queue = [source]
    while queue:
        node = queue.pop()
        if node in successors:
            continue
        successors[node] = tuple(
            (node, neighbor, key)
            for neighbor, links in graph.adj[node].items()
            for key, data in links.items()
            if neighbor in distance and distance[node] == data["metric"] + distance[neighbor]
        )
        queue += [edge[1] for edge in successors[node]]
    counts: dict[Node, int] = {target: 1}
    for node in sorted(successors, key=distance.__getitem__):
        counts.setdefault(node, sum(counts[edge[1]] for edge in successors[node]))
    return ShortestDag(distance[source], successors, counts[source])


def all_shortest(graph: Graph, source: Node, target: Node, limit: int = LIMIT) -> PathSet:
    """All metric-shortest paths: the exact count, and at most `limit` of them listed; raises PathError."""
    dag = shortest_dag(graph, source, target)
    paths = list(islice(_dag_paths(dag, source, target), limit))
    return PathSet(paths, dag.count, dag.count > len(paths))


def k_shortest(graph: Graph, source: Node, target: Node, k: int, limit: int = LIMIT) -> PathSet:
    """The k metric-shortest simple paths (Yen 1971), at most `limit`; parallel links make different paths.

    `truncated` says that `limit` cut the answer short of k. Raises PathError.
    """
    _check(graph, source, target)
    if source == target:
        return PathSet([()], 1, False)
    paths: list[Path] = []
    try:
        ways = nx.shortest_simple_paths(_subdivided(graph), source, target, weight="metric")
        for way in islice(ways, min(k, limit + 1)):
            paths.append(tuple(_edges_of(graph, way)))
    except nx.NetworkXNoPath:
        pass
    return PathSet(paths[:limit], min(len(paths), limit), len(paths) > limit)


def within_hops(graph: Graph, source: Node, target: Node, extra: int, limit: int = LIMIT) -> PathSet:
    """All simple paths of at most `extra` more links than the fewest possible, shortest first, at most `limit`.

    When there are more, the listed ones are still the shorter ones, up to a factor of two in extra links.
    Raises PathError.
    """
    _check(graph, source, target)
    fewest = _hops_to(graph, target).get(source)
    if fewest is None:
        return PathSet([], 0, False)
    longest = max(fewest, min(fewest + extra, len(graph) - 1))
    complete: list[Path] = []
    bound, complete_to = fewest, -1
    while True:
        found = list(islice(_simple_paths(graph, source, target, bound), limit + 1))
        if len(found) > limit:
            longer = [path for path in found if len(path) > complete_to]
            return PathSet(sorted(complete + longer, key=len)[:limit], limit, True)
        if bound == longest:
            return PathSet(sorted(found, key=len), len(found), False)
        complete, complete_to = found, bound
        bound = min(longest, max(bound + 1, 2 * bound - fewest))


def all_simple(graph: Graph, source: Node, target: Node, limit: int = LIMIT) -> PathSet:
    """All simple paths, shortest first, at most `limit`; meant for small graphs. Raises PathError."""
    return within_hops(graph, source, target, len(graph), limit)


def _check(graph: Graph, *nodes: Node) -> None:
    for node in nodes:
        if node not in graph:
            raise PathError(f"{node} is not in the topology; check the name, or wait until it is discovered.")


def _hops_to(graph: Graph, target: Node, avoid: Collection[Node] = ()) -> dict[Node, int]:
    """Links from each node to the target on the shortest way that does not touch `avoid`."""
    hops = {target: 0}
    queue = deque([target])
    while queue:
        node = queue.popleft()
        for before in graph.pred[node]:
            if before not in hops and before not in avoid:
                hops[before] = hops[node] + 1
                queue.append(before)
    return hops


def _simple_node_paths(graph: Graph, source: Node, target: Node, max_hops: int) -> Iterator[tuple[Node, ...]]:
    """Depth-first search pruned by the distance to the target.

    That distance ignores the nodes already used, so the search may enter dead ends. Once it has met more of them than
    the graph has nodes, the distance is computed anew at each step, and then every step leads to a path.
    """
    if source == target:
        yield (source,)
        return
    path: dict[Node, None] = {source: None}
    stack = [(iter(graph.adj[source]), _hops_to(graph, target))]
    fruitless = 0
    exact = False
    while stack:
        children, hops = stack[-1]
        node = next(children, None)
        if node is None:
            stack.pop()
            path.popitem()
        elif node in path or len(path) + hops.get(node, max_hops) > max_hops:
            continue
        elif node == target:
            fruitless = 0
            yield (*path, node)
        else:
            path[node] = None
            fruitless += 1
            exact = exact or fruitless > len(graph)
            stack.append(
                (
                    iter(graph.adj[node]),
                    _hops_to(graph, target, path) if exact else hops,
                )
            )


def _simple_paths(graph: Graph, source: Node, target: Node, max_hops: int) -> Iterator[Path]:
    for nodes in _simple_node_paths(graph, source, target, max_hops):
        yield from product(*([(u, v, key) for key in graph.adj[u][v]] for u, v in pairwise(nodes)))


def _dag_paths(dag: ShortestDag, source: Node, target: Node) -> Iterator[Path]:
    if source == target:
        yield ()
        return
    path: list[Edge] = []
    stack = [iter(dag.successors.get(source, ()))]
    while stack:
        edge = next(stack[-1], None)
        if edge is None:
            stack.pop()
            if path:
                path.pop()
        elif edge[1] == target:
            yield (*path, edge)
        else:
            path.append(edge)
            stack.append(iter(dag.successors[edge[1]]))


@dataclass(frozen=True)
class _Midpoint:
    """A node of its own in the middle of an edge: what makes parallel links differ in a graph without them."""

    edge: Edge


def _subdivided(graph: Graph) -> nx.DiGraph[Node]:
    simple: nx.DiGraph[Node] = nx.DiGraph()
    simple.add_nodes_from(graph)
    for node, neighbors in graph.adj.items():
        for neighbor, links in neighbors.items():
            for key, data in links.items():
                if len(links) == 1:
                    simple.add_edge(node, neighbor, metric=data["metric"])
                    continue
                middle = _Midpoint((node, neighbor, key))
                simple.add_edge(node, middle, metric=data["metric"])
                simple.add_edge(middle, neighbor, metric=0)
    return simple


def _edges_of(graph: Graph, way: list[Node]) -> Iterator[Edge]:
    for step, after in pairwise(way):
        if isinstance(step, _Midpoint):
            yield step.edge
        elif not isinstance(after, _Midpoint):
            yield (step, after, next(iter(graph.adj[step][after])))
