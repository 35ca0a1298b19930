"""Shortest paths and equal-cost routes, as IS-IS computes them (ISO 10589, RFC 5302)."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from lab.netlink import NextHop


@dataclass(frozen=True)
class Adjacency:
    """A usable half-link; ``hop`` is the neighbour's address and the local interface that leads to it."""

    local: str
    remote: str
    metric: int
    hop: NextHop


@dataclass(frozen=True)
class Announcement:
    router: str
    prefix: IPv4Network
    metric: int


Routes = dict[IPv4Network, frozenset[NextHop]]


def routes(
    routers: Iterable[str], adjacencies: Iterable[Adjacency], announced: Iterable[Announcement]
) -> dict[str, Routes]:
    """Every router's routes to all announced prefixes but its own."""
    neighbours: dict[str, list[Adjacency]] = defaultdict(list)
    for adjacency in adjacencies:
        neighbours[adjacency.local].append(adjacency)
    announced = list(announced)
    return {router: _routes_of(router, neighbours, announced) for router in routers}


def _routes_of(source: str, neighbours: Mapping[str, list[Adjacency]], announced: list[Announcement]) -> Routes:
    distance, hops = _spf(source, neighbours)
    connected = {entry.prefix for entry in announced if entry.router == source}
    best: dict[IPv4Network, tuple[int, frozenset[NextHop]]] = {}
    for entry in announced:
        if entry.prefix in connected or entry.router not in distance:
            continue
        cost = distance[entry.router] + entry.metric
        known, via = best.get(entry.prefix, (cost + 1, frozenset()))
        if cost < known:
            best[entry.prefix] = (cost, hops[entry.router])
        elif cost == known:
            best[entry.prefix] = (cost, via | hops[entry.router])
    return {prefix: via for prefix, (_cost, via) in best.items()}


def _spf(
    source: str, neighbours: Mapping[str, list[Adjacency]]
) -> tuple[dict[str, int], dict[str, frozenset[NextHop]]]:
    """Dijkstra that keeps every first hop of the shortest paths."""
    distance = {source: 0}
    hops: dict[str, frozenset[NextHop]] = {source: frozenset()}
    queue, done = [(0, source)], set[str]()
    while queue:
        cost, node = heapq.heappop(queue)
        if node in done:
            continue
        done.add(node)
        for adjacency in neighbours.get(node, ()):
            remote, reached = adjacency.remote, cost + adjacency.metric
            first = hops[node] or frozenset((adjacency.hop,))
            if reached < distance.get(remote, reached + 1):
                distance[remote], hops[remote] = reached, first
                heapq.heappush(queue, (reached, remote))
            elif reached == distance[remote] and remote != source:
                hops[remote] |= first
    return distance, hops
