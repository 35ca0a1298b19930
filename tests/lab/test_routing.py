"""Shortest paths against networkx, on random networks with parallel links and equal costs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import networkx
from hypothesis import given
from hypothesis import strategies as st

from lab.routing import Adjacency, Announcement, routes

ROUTERS = [f"R{n}" for n in range(7)]
EDGES = st.lists(
    st.tuples(st.sampled_from(ROUTERS), st.sampled_from(ROUTERS), st.integers(1, 3)).filter(lambda e: e[0] != e[1]),
    max_size=14,
)


def adjacencies(edges: list[tuple[str, str, int]]) -> list[Adjacency]:
    found = []
    for index, (a, b, metric) in enumerate(edges):
        found.append(Adjacency(a, b, metric, (IPv4Address(2 * index), index)))
        found.append(Adjacency(b, a, metric, (IPv4Address(2 * index + 1), index)))
    return found


def loopback(router: str) -> IPv4Network:
    return IPv4Network(f"10.255.0.{router[1:]}/32")


@given(EDGES)
def test_every_equal_cost_first_hop_and_no_other(edges: list[tuple[str, str, int]]) -> None:
    halves = adjacencies(edges)
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(ROUTERS)
    for half in halves:
        known = graph.get_edge_data(half.local, half.remote, {"weight": half.metric})["weight"]
        graph.add_edge(half.local, half.remote, weight=min(known, half.metric))
    distance = dict(networkx.all_pairs_dijkstra_path_length(graph))
    found = routes(ROUTERS, halves, [Announcement(router, loopback(router), 0) for router in ROUTERS])
    for source in ROUTERS:
        expected = {
            loopback(target): frozenset(
                half.hop
                for half in halves
                if half.local == source
                and half.metric + distance[half.remote].get(target, 10**9) == distance[source][target]
            )
            for target in ROUTERS
            if target != source and target in distance[source]
        }
        assert found[source] == expected


def test_anycast_prefix_uses_the_nearest_and_all_equally_near() -> None:
    shared, halves = IPv4Network("10.9.0.0/24"), adjacencies([("R0", "R1", 1), ("R0", "R2", 1), ("R2", "R3", 1)])
    hops = {half.remote: half.hop for half in halves if half.local == "R0"}
    near = [Announcement("R1", shared, 5), Announcement("R2", shared, 5), Announcement("R3", shared, 1)]
    assert routes(["R0"], halves, near)["R0"][shared] == {hops["R2"]}
    assert routes(["R0"], halves, near[:2])["R0"][shared] == {hops["R1"], hops["R2"]}


def test_own_prefixes_are_left_to_the_kernel() -> None:
    shared = IPv4Network("10.9.0.0/31")
    both = [Announcement("R0", shared, 1), Announcement("R1", shared, 1)]
    assert routes(["R0", "R1"], adjacencies([("R0", "R1", 1)]), both) == {"R0": {}, "R1": {}}
