"""Localisation on the seed lab with the planner's own walks: the right link, the right direction, or an honest set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.paths import Edge, all_simple, build_graph
from probing.detection import Detector, Thresholds, shared_window
from probing.localisation import Candidate, Verdict, WalkEvidence, link_candidates, localise
from probing.planning import Walk, plan_walks
from probing.signatures import ACCESS
from tests.seed import half_links, links_of, seed_graph

CANDIDATES = link_candidates(links_of(seed_graph()))
ONE_WAY = [candidate for candidate in CANDIDATES if candidate.kind == "half_link"]
LINKS = [candidate for candidate in CANDIDATES if candidate.kind == "link"]
THE_ACCESS = Candidate("access", frozenset({ACCESS}))

Fault = tuple[Candidate, float]


@cache
def lab_walks() -> tuple[Walk, ...]:
    graph = seed_graph()
    return plan_walks(graph, "R1", "R6", all_simple(graph, "R1", "R6").paths).walks


def name(candidate: Candidate) -> str:
    return "+".join(sorted(f"{its[0]}>{its[1]}" for its in candidate.elements if isinstance(its, tuple))) or "access"


def survival(edges: Sequence[Edge], faults: Sequence[Fault], background: float) -> float:
    chance: float = 1 - background
    for candidate, rate in faults:
        crossings = 1 if candidate.kind == "access" else sum(edge in candidate.elements for edge in edges)
        chance *= (1 - rate) ** crossings
    return chance


def observe(
    faults: Sequence[Fault], sent: int, background: float = 0.001, lies: float = 0.0, seed: int = 0
) -> list[WalkEvidence]:
    """Probes of all walks of the lab through these faults; each walk's counts are turned round with chance `lies`."""
    rng = random.Random(seed)
    evidence = []
    for number, walk in enumerate(lab_walks()):
        chance = survival(walk.edges, faults, background)
        lost = sum(rng.random() > chance for _ in range(sent))
        if rng.random() < lies:
            lost = 0 if lost > sent / 2 else sent
        evidence.append(WalkEvidence(number, walk.edges, sent, lost))
    return evidence


def named(verdict: Verdict) -> set[Candidate]:
    """The faults named without doubt."""
    return {fault.candidates[0] for fault in verdict.faults if fault.exact}


def is_exact(verdict: Verdict, *truth: Candidate) -> bool:
    return len(verdict.faults) == len(truth) and named(verdict) == set(truth)


@pytest.mark.parametrize("broken", CANDIDATES, ids=name)
def test_a_cut_is_named_exactly_after_five_probes(broken: Candidate) -> None:
    verdict = localise(observe([(broken, 1.0)], sent=5), CANDIDATES)
    assert is_exact(verdict, broken)
    assert verdict.stable
    (fault,) = verdict.faults
    assert fault.rate > 0.9
    assert fault.gain > 20
    assert fault.margin > 3


@pytest.mark.parametrize("broken", CANDIDATES, ids=name)
def test_twenty_percent_on_a_link_is_named_exactly(broken: Candidate) -> None:
    verdict = localise(observe([(broken, 0.2)], sent=100), CANDIDATES)
    assert is_exact(verdict, broken)
    assert verdict.faults[0].rate == pytest.approx(0.2, abs=0.08)


@pytest.mark.parametrize(
    ("rate", "sent", "background", "lies", "at_least"),
    [
        (1.0, 5, 0.05, 0.0, 0.98),
        (1.0, 20, 0.05, 0.0, 0.98),
        (1.0, 10, 0.0, 0.01, 0.98),
        (1.0, 10, 0.01, 0.05, 0.90),
        (0.2, 100, 0.01, 0.0, 0.98),
        (0.05, 500, 0.01, 0.0, 0.95),
    ],
)
def test_background_loss_and_false_verdicts_do_not_mislead(
    rate: float, sent: int, background: float, lies: float, at_least: float
) -> None:
    right = [
        is_exact(localise(observe([(broken, rate)], sent, background, lies, seed), CANDIDATES), broken)
        for broken in CANDIDATES
        for seed in range(4)
    ]
    assert sum(right) / len(right) >= at_least


def test_total_loss_is_the_access_and_no_link() -> None:
    for rate, sent in ((1.0, 5), (0.3, 60)):
        assert is_exact(localise(observe([(THE_ACCESS, rate)], sent), CANDIDATES), THE_ACCESS)


@pytest.mark.parametrize("background", [0.0, 0.01, 0.05])
def test_what_is_lost_everywhere_a_little_is_nobodys_fault(background: float) -> None:
    for sent in (5, 100, 1000):
        verdict = localise(observe([], sent, background), CANDIDATES)
        assert verdict.faults == ()


def test_too_little_evidence_names_nothing() -> None:
    (walk, *others) = observe([], sent=5, background=0)
    for lost in range(6):
        bad = WalkEvidence(walk.walk_id, walk.elements, 5, lost)
        assert localise([bad, *others], CANDIDATES).faults == ()
    assert localise([], CANDIDATES).faults == localise([], []).faults == ()
    assert localise(observe([(CANDIDATES[0], 1.0)], sent=0), CANDIDATES).faults == ()
    assert localise(observe([(CANDIDATES[0], 1.0)], sent=1), CANDIDATES[:1]).scores[0].candidate.kind in (
        "link",
        "access",
    )


def test_two_cuts_at_once_never_name_a_third() -> None:
    """Where no smaller or other set breaks the same walks, the two are found, or said to be uncertain."""
    signature = {
        its: frozenset(n for n, walk in enumerate(lab_walks()) if its.elements & set(walk.edges)) for its in CANDIDATES
    }
    pairs = [
        pair for pair in combinations(ONE_WAY, 2) if Candidate("link", pair[0].elements | pair[1].elements) not in LINKS
    ]
    broken_by: dict[frozenset[int], list[tuple[Candidate, ...]]] = {}
    for one, other in pairs:
        broken_by.setdefault(signature[one] | signature[other], []).append((one, other))
    sure, found = 0, 0
    for broken, explanations in broken_by.items():
        simpler = [its for its in CANDIDATES if signature[its] == broken]
        if len(explanations) > 1 or simpler or len(broken) == len(lab_walks()):
            continue
        verdict = localise(observe([(its, 1.0) for its in explanations[0]], sent=10), CANDIDATES)
        sure += 1
        found += {fault.candidates[0] for fault in verdict.faults} >= set(explanations[0])
        assert named(verdict) <= set(explanations[0]) or not verdict.stable
    assert sure > 30
    assert found / sure > 0.7


def test_two_cuts_far_apart_in_a_larger_network_are_both_named() -> None:
    ring = [(number, (number + 1) % 12) for number in range(12)]
    graph = build_graph(half_links([*ring, (0, 3), (0, 6), (0, 9), (2, 7), (4, 10)]))
    walks = plan_walks(graph, 0, 6, all_simple(graph, 0, 6).paths[:20]).walks
    candidates = link_candidates(links_of(graph))
    faults = [
        its
        for its in candidates
        if its.kind == "link" and {edge[:2] for edge in its.elements if isinstance(edge, tuple)} & {(1, 2), (8, 9)}
    ]
    assert len(faults) == 2
    evidence = [
        WalkEvidence(n, walk.edges, 10, 10 - round(10 * survival(walk.edges, [(its, 1.0) for its in faults], 0)))
        for n, walk in enumerate(walks)
    ]
    assert is_exact(localise(evidence, candidates), *faults)


def test_unequal_directions_of_a_link_are_told_apart() -> None:
    there, back = ONE_WAY[0], ONE_WAY[1]
    verdict = localise(observe([(there, 1.0), (back, 0.3)], sent=200), CANDIDATES)
    assert {edge for fault in verdict.faults for edge in fault.candidates[0].elements} == there.elements | back.elements


def test_what_cannot_be_told_apart_is_named_together() -> None:
    graph = build_graph(half_links([("a", "b"), ("b", "c"), ("a", "d")]))
    (chain,) = all_simple(graph, "a", "c").paths
    (spur,) = all_simple(graph, "a", "d").paths
    back = tuple((edge[1], edge[0], edge[2]) for edge in reversed(chain))
    walks = [chain + back, chain[:1] + back[1:], (*spur, ("d", "a", spur[0][2]))]
    evidence = [WalkEvidence(n, walk, 20, lost) for n, (walk, lost) in enumerate(zip(walks, (20, 20, 0), strict=True))]
    verdict = localise(evidence, link_candidates(links_of(graph)))
    (fault,) = verdict.faults
    assert not fault.exact
    assert {name(its) for its in fault.candidates} == {"a>b", "b>a", "a>b+b>a"}
    assert fault.candidates[0].kind == "link"
    assert verdict.stable


def test_walks_that_noticed_at_different_times_do_not_mislead() -> None:
    """At the moment the first walk has lost five probes, those out of phase have lost three or four of theirs."""
    for broken in CANDIDATES:
        for seed in range(3):
            rng = random.Random(seed)
            hit = [bool(broken.elements & set(walk.edges)) for walk in lab_walks()]
            lost = [rng.choice((3, 4, 5)) if bad else 0 for bad in hit]
            evidence = [WalkEvidence(n, walk.edges, 5, lost[n]) for n, walk in enumerate(lab_walks())]
            verdict = localise(evidence, CANDIDATES)
            assert is_exact(verdict, broken) or not verdict.stable


def test_stable_is_false_while_more_probes_can_still_decide() -> None:
    """A link's two directions, told apart by walks that have not reported yet."""
    link = LINKS[0]
    there, back = (its for its in ONE_WAY if its.elements < link.elements)
    evidence = [
        WalkEvidence(n, walk.edges, 20, 20)
        if there.elements & set(walk.edges)
        else WalkEvidence(n, walk.edges, 0 if back.elements & set(walk.edges) else 20, 0)
        for n, walk in enumerate(lab_walks())
    ]
    verdict = localise(evidence, CANDIDATES)
    assert not verdict.stable
    assert {link, there} <= set(verdict.faults[0].candidates)


def test_the_table_explains_the_verdict() -> None:
    broken = ONE_WAY[3]
    verdict = localise(observe([(broken, 1.0)], sent=10), CANDIDATES)
    assert verdict.scores[0].candidate == broken
    assert [score.gain for score in verdict.scores] == sorted((score.gain for score in verdict.scores), reverse=True)
    assert {score.candidate for score in verdict.scores} == {*CANDIDATES, THE_ACCESS}
    top = verdict.scores[0]
    crossing = [n for n, walk in enumerate(lab_walks()) if broken.elements & set(walk.edges)]
    assert (top.walks, top.sent, top.lost) == (tuple(crossing), 10 * len(crossing), 10 * len(crossing))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=14))
def test_any_counts_get_a_verdict(counts: list[tuple[int, int]]) -> None:
    evidence = [
        WalkEvidence(n, walk.edges, max(pair), min(pair))
        for n, (walk, pair) in enumerate(zip(lab_walks(), counts, strict=False))
    ]
    verdict = localise(evidence, CANDIDATES)
    assert all(fault.candidates and 0 < fault.rate <= 1 and fault.gain > 0 for fault in verdict.faults)
    assert localise(evidence, CANDIDATES) == verdict


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_from_probes_to_the_named_link(rate: float) -> None:
    """Detectors and localiser together: ten probes a second on each walk, reports of a quarter of a second."""
    for seed, broken in enumerate(CANDIDATES):
        rng = random.Random(seed)
        walks = [(Thresholds(len(walk.edges) + 1), Detector(), walk.edges) for walk in lab_walks()]
        for report in range(1200):
            faults = [(broken, rate)] if report >= 200 else []
            for thresholds, detector, edges in walks:
                received = [rng.random() < survival(edges, faults, 0.005) for _ in range(2 + report % 2)]
                bits = sum(1 << i for i, its in enumerate(received) if its)
                detector.feed(thresholds, bytes([bits]), len(received))
            window = shared_window(detector for _, detector, _ in walks)
            assert not window or report >= 200
            if not window:
                continue
            evidence = [WalkEvidence(n, edges, *its.evidence(window)) for n, (_, its, edges) in enumerate(walks)]
            verdict = localise(evidence, CANDIDATES)
            if verdict.faults and verdict.stable:
                assert is_exact(verdict, broken)
                break
        else:
            pytest.fail(f"{name(broken)} was not named within 250 s")
