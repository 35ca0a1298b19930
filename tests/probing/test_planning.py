"""Plans: every fault of the seed lab has its own signature, and nothing a plan cannot tell apart goes unsaid."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.paths import Edge, Graph, all_shortest, all_simple, build_graph, path_nodes, reverse, within_hops
from probing.planning import PlanError, Walk, WalkPlan, plan_walks, walk_hops
from probing.signatures import ACCESS
from tests.seed import half_links, links_of, seed_graph


def lab_plan(graph: Graph | None = None, **options: object) -> WalkPlan:
    graph = graph or seed_graph()
    return plan_walks(graph, "R1", "R6", all_simple(graph, "R1", "R6").paths, **options)  # type: ignore[arg-type]


def cut(graph: Graph, *pair: str) -> Graph:
    left = graph.copy()
    left.remove_edges_from([edge for edge in graph.edges(keys=True) if {*edge[:2]} == {*pair}])
    return left


def signatures(plan: WalkPlan) -> dict[frozenset[object], frozenset[int]]:
    """What each fault breaks, worked out the slow way: half-links and links that any walk crosses, and the access."""
    crossed = {edge for walk in plan.walks for edge in walk.edges}
    edges = crossed | {reverse(edge) for edge in crossed}
    faults = {frozenset({edge}) for edge in edges} | {frozenset({edge, reverse(edge)}) for edge in edges}
    found: dict[frozenset[object], frozenset[int]] = {
        frozenset(fault): frozenset(i for i, walk in enumerate(plan.walks) if fault & set(walk.edges))
        for fault in faults
    }
    return found | {frozenset({ACCESS}): frozenset(range(len(plan.walks)))}


def check_honest(plan: WalkPlan) -> None:
    """`ambiguous` and `uncovered` are exactly what the slow way finds."""
    together: dict[frozenset[int], set[frozenset[object]]] = {}
    for fault, broken in signatures(plan).items():
        together.setdefault(broken, set()).add(fault)
    unseen = together.pop(frozenset(), set())
    assert {frozenset(group) for group in together.values() if len(group) > 1} == set(plan.ambiguous)
    assert {edge for fault in unseen for edge in fault} - {ACCESS} == plan.uncovered


def check_walks(graph: Graph, start: object, plan: WalkPlan, max_layers: int = 16) -> None:
    assert len({walk.edges for walk in plan.walks}) == len(plan.walks)
    for walk in plan.walks:
        nodes = path_nodes(walk.edges)
        assert nodes[0] == nodes[-1] == start
        assert all(before[1] == after[0] for before, after in zip(walk.edges, walk.edges[1:], strict=False))
        assert all(graph.has_edge(*edge) for edge in walk.edges)
        assert len(set(walk.edges)) == len(walk.edges) <= max_layers


def test_every_fault_of_the_lab_has_a_signature_of_its_own() -> None:
    graph = seed_graph()
    plan = lab_plan(graph)
    faults = signatures(plan)
    assert len(faults) == 16 + 8 + 1
    assert len(set(faults.values())) == len(faults)
    assert all(faults.values())
    assert (plan.ambiguous, plan.uncovered, plan.refused) == ((), frozenset(), ())
    check_walks(graph, "R1", plan)
    print(f"{len(plan.walks)} walks for the seed lab")


def test_one_lying_walk_cannot_swap_two_faults_of_the_lab() -> None:
    assert min(len(one ^ other) for one, other in combinations(signatures(lab_plan()).values(), 2)) >= 2


def test_every_half_link_of_the_lab_lies_on_four_walks_or_more() -> None:
    crossed = Counter(edge for walk in lab_plan().walks for edge in walk.edges)
    assert len(crossed) == 16
    assert min(crossed.values()) >= 4


def test_each_path_has_its_walk_first_and_its_return_goes_another_way() -> None:
    graph = seed_graph()
    paths = all_simple(graph, "R1", "R6").paths
    plan = lab_plan(graph)
    assert [walk.out for walk in plan.walks[:8]] == paths
    for walk in plan.walks[:8]:
        assert walk.back != tuple(reverse(edge) for edge in reversed(walk.out))
        if len(walk.out) == 3:
            assert not {edge[2] for edge in walk.out} & {edge[2] for edge in walk.back}


def test_hops_are_the_far_side_addresses() -> None:
    graph = seed_graph()
    walk = next(its for its in lab_plan(graph).walks if path_nodes(its.edges)[:4] == ["R1", "R2", "R4", "R6"])
    hops = walk_hops(graph, walk)
    assert hops[:3] == ["10.1.1.1", "10.1.1.5", "10.1.1.13"]
    assert hops[-1] == graph.edges[reverse(walk.edges[-1])]["local_address"]


def test_planning_again_changes_nothing() -> None:
    plan = lab_plan()
    assert lab_plan() == plan
    assert lab_plan(previous=plan.walks) == plan


@pytest.mark.parametrize("pair", [("R1", "R2"), ("R2", "R4"), ("R3", "R5"), ("R4", "R6")])
def test_a_lost_link_changes_only_the_walks_it_was_on(pair: tuple[str, str]) -> None:
    graph = seed_graph()
    before = lab_plan(graph)
    left = cut(graph, *pair)
    after = lab_plan(left, previous=before.walks)
    alive = {walk for walk in before.walks if all(left.has_edge(*edge) for edge in walk.edges)}
    assert {walk for walk in alive if walk in before.walks[:8]} <= set(after.walks)
    check_walks(left, "R1", after)
    check_honest(after)
    healed = lab_plan(graph, previous=after.walks)
    assert (healed.ambiguous, healed.uncovered) == ((), frozenset())


def test_the_plan_does_not_depend_on_the_hash_seed() -> None:
    code = "from tests.probing.test_planning import lab_plan; print(lab_plan().walks)"
    told = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(lab_plan().walks)


def test_a_bridge_is_ambiguous_and_said_to_be() -> None:
    graph = build_graph(half_links([("a", "b"), ("b", "c")]))
    plan = plan_walks(graph, "a", "c", all_simple(graph, "a", "c").paths)
    check_honest(plan)
    (near, far) = sorted(plan.ambiguous, key=len, reverse=True)
    assert frozenset({ACCESS}) in near
    assert len(near) == 4
    assert len(far) == 3


def test_parallel_links_go_out_by_one_and_back_by_the_other() -> None:
    graph = build_graph(half_links([("a", "b"), ("a", "b")]))
    plan = plan_walks(graph, "a", "b", all_simple(graph, "a", "b").paths)
    for walk in plan.walks[:2]:
        assert walk.out[0][2] != walk.back[0][2]
    check_honest(plan)
    assert plan.ambiguous == ()


def test_a_single_path_borrows_its_return_and_suspects_that_too() -> None:
    graph = seed_graph()
    plan = plan_walks(graph, "R1", "R6", all_shortest(graph, "R1", "R6").paths[:1])
    check_walks(graph, "R1", plan)
    check_honest(plan)
    assert plan.ambiguous == ()


def test_what_does_not_fit_is_refused_with_the_sum() -> None:
    plan = lab_plan(max_layers=7)
    assert {len(path) for path, _ in plan.refused} == {5}
    assert len(plan.refused) == 4
    assert "over 5 links needs 10 GRE layers (292 B) out and back, but only 7 fit" in plan.refused[0][1]
    check_walks(seed_graph(), "R1", plan, max_layers=7)
    assert lab_plan(mtu=52 + 7 * 24 + 23).refused == plan.refused


def test_a_path_that_is_none_is_refused() -> None:
    graph = seed_graph()
    (path, *_) = all_simple(graph, "R1", "R6").paths
    for wrong in (path[1:], path[:-1], (path[0], path[2])):
        with pytest.raises(PlanError, match="not one from R1 to R6"):
            plan_walks(graph, "R1", "R6", [wrong])
    with pytest.raises(PlanError, match="not one from R1 to R6"):
        plan_walks(cut(graph, *(str(node) for node in path[0][:2])), "R1", "R6", [path])


def test_no_paths_and_empty_paths_need_no_walks() -> None:
    for paths in ([], [()]):
        plan = plan_walks(seed_graph(), "R1", "R1", paths)
        assert plan == WalkPlan((), (), frozenset(), ())


def test_previous_walks_that_make_no_sense_are_dropped() -> None:
    path: tuple[Edge, ...] = all_simple(seed_graph(), "R1", "R6").paths[0]
    nonsense = [Walk(path, ()), Walk((), ()), Walk((("X", "Y", 1),), (("Y", "X", 1),))]
    assert lab_plan(previous=nonsense) == lab_plan()


pairs = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, max_size=9), st.integers(1, 3))
def test_any_network_gets_an_honest_plan(links: list[tuple[int, int]], redundancy: int) -> None:
    graph = build_graph(half_links(links), nodes=range(6))
    paths = all_simple(graph, 0, 5, limit=6).paths
    plan = plan_walks(graph, 0, 5, paths, redundancy=redundancy)
    check_walks(graph, 0, plan)
    check_honest(plan)
    assert [walk.out for walk in plan.walks[: len(paths)]] == paths
    assert plan_walks(graph, 0, 5, paths, redundancy=redundancy, previous=plan.walks) == plan


def test_a_large_network_is_told_apart_where_it_can_be() -> None:
    network = nx.barabasi_albert_graph(300, 2, seed=3)
    graph = build_graph(half_links(list(network.edges)))
    plan = plan_walks(graph, 0, 299, within_hops(graph, 0, 299, 1, 20).paths)
    check_walks(graph, 0, plan)
    check_honest(plan)
    bridges = {frozenset(pair) for pair in nx.bridges(network)}
    suspects = {frozenset(edge[:2]) for walk in plan.walks for edge in walk.edges}
    assert suspects & bridges or plan.ambiguous == ()
    assert len(links_of(graph)) == network.number_of_edges()
