"""Paths against NetworkX's own brute force, on the seed lab and on networks made to explode."""

import itertools
from collections.abc import Callable
from typing import cast

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.paths import (
    Edge,
    Graph,
    HalfLink,
    Path,
    PathError,
    PathSet,
    all_shortest,
    all_simple,
    build_graph,
    k_shortest,
    path_nodes,
    reverse,
    shortest_dag,
    within_hops,
)
from tests.seed import LAB, half_links, seed_graph

NODES = 6
pairs = st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)).filter(lambda pair: pair[0] != pair[1])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small multigraphs with metrics, parallel links and unconnected parts."""
    rows = half_links(draw(st.lists(pairs, max_size=10)))
    metrics = draw(st.lists(st.integers(1, 3), min_size=len(rows), max_size=len(rows)))
    return build_graph(
        (
            HalfLink(its.node, its.neighbor, its.local_address, its.remote_address, metric)
            for its, metric in zip(rows, metrics, strict=True)
        ),
        nodes=range(NODES),
    )


def brute(graph: Graph, source: int, target: int) -> list[Path]:
    if source == target:
        return [()]
    return [cast(Path, tuple(path)) for path in nx.all_simple_edge_paths(graph, source, target)]


def metric(graph: Graph, path: Path) -> int:
    return sum(graph.edges[edge]["metric"] for edge in path)


ends = st.integers(0, NODES - 1)


@given(graphs(), ends, ends)
def test_all_simple_is_what_brute_force_finds(graph: Graph, source: int, target: int) -> None:
    found = all_simple(graph, source, target)
    assert sorted(found.paths, key=repr) == sorted(brute(graph, source, target), key=repr)
    assert [len(path) for path in found.paths] == sorted(len(path) for path in found.paths)
    assert (found.count, found.truncated) == (len(found.paths), False)


@given(graphs(), ends, ends, st.integers(0, 3), st.integers(1, 6))
def test_within_hops_is_brute_force_cut_at_a_length(
    graph: Graph, source: int, target: int, extra: int, limit: int
) -> None:
    everything = brute(graph, source, target)
    fewest = min((len(path) for path in everything), default=0)
    expected = [path for path in everything if len(path) <= fewest + extra]
    assert sorted(within_hops(graph, source, target, extra).paths, key=repr) == sorted(expected, key=repr)

    capped = within_hops(graph, source, target, extra, limit)
    assert len(set(capped.paths)) == len(capped.paths) == capped.count == min(limit, len(expected))
    assert set(capped.paths) <= set(expected)
    assert capped.truncated == (len(expected) > limit)


@given(graphs(), ends, ends)
def test_all_shortest_is_brute_force_of_the_least_metric(graph: Graph, source: int, target: int) -> None:
    everything = brute(graph, source, target)
    least = min((metric(graph, path) for path in everything), default=0)
    expected = [path for path in everything if metric(graph, path) == least]
    found = all_shortest(graph, source, target)
    assert sorted(found.paths, key=repr) == sorted(expected, key=repr)
    assert (found.count, found.truncated) == (len(expected), False)
    assert shortest_dag(graph, source, target).distance == least
    if len(expected) > 1:
        capped = all_shortest(graph, source, target, limit=1)
        assert (len(capped.paths), capped.count, capped.truncated) == (1, len(expected), True)


@given(graphs(), ends, ends, st.integers(1, 8))
def test_k_shortest_is_brute_force_sorted_by_metric(graph: Graph, source: int, target: int, k: int) -> None:
    everything = brute(graph, source, target)
    found = k_shortest(graph, source, target, k)
    assert set(found.paths) <= set(everything)
    assert len(set(found.paths)) == len(found.paths) == found.count == min(k, len(everything))
    assert [metric(graph, its) for its in found.paths] == sorted(metric(graph, its) for its in everything)[:k]
    assert not found.truncated
    if found.count > 1:
        assert k_shortest(graph, source, target, k, limit=1) == PathSet(found.paths[:1], 1, True)


@given(st.lists(pairs, max_size=8), st.randoms(use_true_random=False))
def test_the_graph_does_not_depend_on_the_order_of_the_rows(links: list[tuple[int, int]], random: object) -> None:
    rows = half_links(links)
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert list(build_graph(rows).edges(keys=True)) == list(build_graph(shuffled).edges(keys=True))


def test_the_seed_lab_has_exactly_the_eight_paths_of_the_reference() -> None:
    found = all_simple(seed_graph(), "R1", "R6")
    named = sorted(["dev1", *(str(node) for node in path_nodes(path)), "dev2"] for path in found.paths)
    assert named == sorted(LAB["all_simple_paths_dev1_dev2"])
    assert (found.count, found.truncated) == (8, False)
    assert within_hops(seed_graph(), "R1", "R6", 0).count == all_shortest(seed_graph(), "R1", "R6").count == 4


def test_edges_say_how_to_address_the_far_side() -> None:
    graph = seed_graph()
    assert graph.number_of_edges() == 16
    for router, neighbor_address, neighbor, own_address in LAB["half_link_table"]:
        (data,) = graph.adj[router][neighbor].values()
        assert (data["remote_address"], data["local_address"]) == (neighbor_address, own_address)


def test_a_link_needs_both_half_links_up() -> None:
    there, back = half_links([("a", "b")])
    assert build_graph([there, back]).number_of_edges() == 2
    down = HalfLink("b", "a", back.local_address, back.remote_address, up=False)
    other = HalfLink("b", "a", "elsewhere", there.local_address)
    for rows in ([there], [there, down], [there, other]):
        graph = build_graph(rows, nodes=["a", "b", "lonely"])
        assert (graph.number_of_edges(), set(graph)) == (0, {"a", "b", "lonely"})


def test_parallel_links_are_different_links_and_keep_their_own_two_halves() -> None:
    graph = build_graph(half_links([("a", "b"), ("a", "b"), ("b", "c")]))
    assert (
        all_simple(graph, "a", "c").count
        == all_shortest(graph, "a", "c").count
        == k_shortest(graph, "a", "c", 9).count
        == 2
    )
    one, two = all_shortest(graph, "a", "b").paths
    assert one != two
    assert graph.edges[reverse(one[0])]["local_address"] == graph.edges[one[0]]["remote_address"]
    cut = [*half_links([("a", "b"), ("a", "b"), ("b", "c")])][1:]
    assert all_simple(build_graph(cut), "a", "c").paths != []
    assert all_simple(build_graph(cut), "a", "c").count == 1


def test_a_metric_of_zero_makes_no_endless_ways() -> None:
    rows = [
        HalfLink(its.node, its.neighbor, its.local_address, its.remote_address, 0)
        for its in half_links([("a", "b"), ("b", "c")])
    ]
    assert all_shortest(build_graph(rows), "a", "c").count == 1


def test_the_same_node_is_one_empty_path_and_an_unconnected_one_is_none() -> None:
    graph = build_graph(half_links([("a", "b"), ("c", "d")]))
    for ask in (all_shortest, all_simple):
        assert ask(graph, "a", "a") == PathSet([()], 1, False)
        assert ask(graph, "a", "d") == PathSet([], 0, False)
    assert k_shortest(graph, "a", "a", 3) == within_hops(graph, "a", "a", 3) == PathSet([()], 1, False)
    assert k_shortest(graph, "a", "d", 3) == within_hops(graph, "a", "d", 3) == PathSet([], 0, False)
    assert path_nodes(()) == []


def test_an_unknown_node_is_named() -> None:
    graph = seed_graph()
    asks: list[Callable[[], PathSet]] = [
        lambda: all_shortest(graph, "R1", "R9"),
        lambda: k_shortest(graph, "R9", "R1", 2),
        lambda: within_hops(graph, "R9", "R1", 1),
        lambda: all_simple(graph, "R9", "R9"),
    ]
    for ask in asks:
        with pytest.raises(PathError, match=r"^R9 is not in the topology; check the name"):
            ask()


def test_billions_of_shortest_paths_are_counted_without_listing_them() -> None:
    """A chain of 35 diamonds, each with two ways through: 2^35 = 34 359 738 368 paths."""
    diamonds = [
        pair
        for number in range(35)
        for side in ("up", "down")
        for pair in ((number, f"{side}{number}"), (f"{side}{number}", number + 1))
    ]
    found = all_shortest(build_graph(half_links(diamonds)), 0, 35, limit=50)
    assert (found.count, len(found.paths), found.truncated) == (2**35, 50, True)


@pytest.mark.parametrize(
    "network",
    [nx.barabasi_albert_graph(500, 3, seed=1), nx.grid_2d_graph(22, 23), nx.grid_2d_graph(2, 250)],
    ids=["scale-free", "grid", "ladder"],
)
def test_500_nodes_never_explode(network: "nx.Graph[object]") -> None:
    graph = build_graph(half_links(list(network.edges)))
    source, *_, target = network
    fewest = nx.shortest_path_length(network, source, target)
    for extra in (0, 2, 9, 500):
        found = within_hops(graph, source, target, extra, limit=200)
        assert found.truncated == (found.count == 200)
        for path in found.paths:
            nodes = path_nodes(path)
            assert len(set(nodes)) == len(nodes) <= fewest + extra + 1
            assert (nodes[0], nodes[-1]) == (source, target)
        assert len(found.paths[0]) == fewest


def test_a_search_full_of_dead_ends_still_answers() -> None:
    """The only way to the target goes back through the start's neighbour, so every step into the meadow is in vain."""
    meadow = list(itertools.combinations(range(14), 2))
    graph = build_graph(half_links([("start", "gate"), ("gate", 0), ("gate", "target"), *meadow]))
    found = all_simple(graph, "start", "target")
    assert [path_nodes(path) for path in found.paths] == [["start", "gate", "target"]]


def test_reverse_is_its_own_inverse() -> None:
    edge: Edge = ("a", "b", 7)
    assert reverse(edge) == ("b", "a", 7)
    assert reverse(reverse(edge)) == edge
