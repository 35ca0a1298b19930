from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections import Counter

import pytest

from pi_agent.prober.plan import MAGIC, PAYLOAD, PlanError
from pi_agent.prober.prober import Prober
from tests.pi_agent.namespace import (
    AGENT,
    Fate,
    Reports,
    Router,
    in_namespace,
    make_plan,
    make_walk,
    until,
)
from tests.pi_agent.packets import ipv4, udp


@in_namespace
async def test_every_walk_goes_out_and_comes_back() -> None:
    router, reports = Router(), Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(7, *(make_walk(number, 200) for number in (1, 2, 3))))
    await until(lambda: min(len(reports.decided(number)) for number in (1, 2, 3)) >= 100)
    prober.close()
    for number in (1, 2, 3):
        decided = reports.decided(number)
        assert decided == list(range(len(decided)))
        assert all(rtt is not None and rtt < 500_000 for rtt in reports.rtts(number))
        for count in ("late", "duplicate", "reordered"):
            assert reports.total(number, count) == 0
    sent = Counter(walk for walk, _ in router.seen)
    assert max(sent.values()) - min(sent.values()) <= 1, "walks of one rate take turns"
    assert {report.plan_version for report in reports.all} == {7}
    ends = [report.end for report in reports.all]
    assert ends == sorted(ends)


@in_namespace
async def test_lost_late_duplicate_and_reordered_are_told_apart() -> None:
    fates = {1: Fate(copies=0), 3: Fate(copies=2), 5: Fate(delay=0.4), 7: Fate(behind=2)}
    router, reports = Router(lambda walk, sequence: fates.get(sequence % 10, Fate())), Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk(rate=100), timeout_ms=200))
    await until(lambda: len(reports.decided(1)) >= 100)
    prober.apply(make_plan(2, timeout_ms=200))
    await until(lambda: len(reports.decided(1)) == len(router.seen))
    kinds = Counter(sequence % 10 for sequence in reports.decided(1))
    lost = Counter(sequence % 10 for sequence, rtt in enumerate(reports.rtts(1)) if rtt is None)
    assert (lost.pop(1), lost.pop(5)) == (kinds[1], kinds[5])
    assert lost in ({}, {7: 1}), "the last 7 may have no probe behind it that frees it"
    assert reports.total(1, "duplicate") == kinds[3]
    assert kinds[7] - 1 <= reports.total(1, "reordered") <= kinds[7]
    assert 0 < reports.total(1, "late") <= kinds[5], "those of the last moment belong to no walk any more"


@in_namespace
async def test_plans_change_while_probing_and_nothing_is_lost_or_told_twice() -> None:
    chance = random.Random(4)
    router = Router(lambda walk, sequence: Fate(copies=sequence % 7 != 3, delay=0.03 if sequence % 5 == 2 else 0))
    reports = Reports()
    prober = Prober(reports.deliver)
    for version in range(1, 25):
        walks = [make_walk(number, chance.choice([50, 200])) for number in (1, 2, 3, 4) if chance.random() < 0.6]
        prober.apply(make_plan(version, make_walk(9), *walks, timeout_ms=100, report_ms=chance.choice([10, 40])))
        await asyncio.sleep(chance.uniform(0, 0.12))
    prober.apply(make_plan(25, timeout_ms=100, report_ms=10))
    await until(lambda: sum(len(reports.decided(walk)) for walk in (1, 2, 3, 4, 9)) >= len(router.seen))
    await asyncio.sleep(0.1)
    told = Counter((walk, sequence) for walk in (1, 2, 3, 4, 9) for sequence in reports.decided(walk))
    assert told == Counter(router.seen)
    assert reports.decided(9) == list(range(len(reports.decided(9)))), "a walk in every plan goes on"
    await until(lambda: not prober._tallies and prober._report_timer is None)
    versions = [report.plan_version for report in reports.all if any(r.walk == 9 for r in report.records)]
    assert versions == sorted(versions)
    prober.close()


@in_namespace
async def test_a_walk_with_another_template_starts_again() -> None:
    router, reports = Router(lambda walk, sequence: Fate(delay=0.1)), Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk()))
    await until(lambda: len(router.seen) >= 260)  # over two seconds: the first are forgotten
    prober.apply(make_plan(2, make_walk(hops=["20.9.9.9"])))
    await until(lambda: sum(report.plan_version == 2 for report in reports.all) >= 10)
    prober.close()
    for version in (1, 2):
        records = [record for report in reports.all if report.plan_version == version for record in report.records]
        decided = [record.first + index for record in records for index in range(len(record.rtts))]
        assert decided == list(range(len(decided)))
        assert len(decided) >= (260 if version == 1 else 1)
        assert not any(None in record.rtts for record in records), "what was in flight is still matched"


@in_namespace
async def test_only_replies_of_this_prober_count() -> None:
    """Each packet differs from a right reply in one thing."""
    router, reports = Router(lambda walk, sequence: Fate(copies=0)), Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk(), timeout_ms=5000))
    await until(lambda: len(router.seen) >= 5)
    right = router.last
    _, nonce, walk, sequence, when = PAYLOAD.unpack_from(right, 28)

    def reply(changed: tuple[bytes, int, int, int, int], port: int = 3000, protocol: int = 17, size: int = 24) -> bytes:
        return ipv4(protocol, AGENT, AGENT, udp(port, PAYLOAD.pack(*changed)[:size]))

    same = (MAGIC, nonce, walk, sequence, when)
    for packet in (
        reply((b"NPv2", *same[1:])),
        reply((MAGIC, nonce ^ 1, walk, sequence, when)),
        reply((MAGIC, nonce, 77, sequence, when)),
        reply((MAGIC, nonce, walk, sequence + 1000, when)),
        reply((MAGIC, nonce, walk, sequence, when + 1)),
        reply(same, port=3001),
        reply(same, protocol=6),
        reply(same, size=20),
        reply(same, size=10),
        right[:6] + b"\x00\x10" + right[8:],  # a later fragment
    ):
        router.send(packet)
    router.send(reply(same))
    await until(lambda: len(router.seen) >= 20)
    prober.apply(make_plan(2, timeout_ms=50))
    await until(lambda: len(reports.decided(1)) == len(router.seen))
    assert [number for number, rtt in enumerate(reports.rtts(1)) if rtt is not None] == [sequence]
    assert {reports.total(1, count) for count in ("late", "duplicate", "reordered")} == {0}


@in_namespace
async def test_replies_with_ip_options_are_read() -> None:
    router, reports = Router(), Reports()
    prober = Prober(reports.deliver)
    send = router.send

    def with_options(packet: bytes) -> None:
        send(ipv4(17, AGENT, AGENT, packet[20:], options=b"\x01" * 8))

    router.send = with_options  # type: ignore[method-assign]
    prober.apply(make_plan(1, make_walk()))
    await until(lambda: len(reports.decided(1)) >= 20)
    prober.close()
    assert None not in reports.rtts(1)


@in_namespace
async def test_what_cannot_be_sent_is_lost_on_the_path() -> None:
    reports = Reports()
    Router()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk(1), make_walk(2, hops=["99.0.0.1"]), timeout_ms=50))
    await until(lambda: len(reports.decided(2)) >= 20)
    prober.close()
    assert None not in reports.rtts(1)
    assert set(reports.rtts(2)) == {None}


@in_namespace
async def test_walks_are_spread_over_their_interval() -> None:
    Router()
    prober = Prober(Reports().deliver)
    prober.apply(make_plan(1, *(make_walk(number, 0.1) for number in range(100))))
    due = sorted(due for due, _, _ in prober._senders)
    prober.close()
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert 0 < min(gaps) <= max(gaps) < 3 * 10_000_000_000 / 100


@in_namespace
async def test_a_new_prober_starts_again_with_another_nonce() -> None:
    Router()
    nonces = set()
    for _ in range(2):
        reports = Reports()
        prober = Prober(reports.deliver)
        prober.apply(make_plan(1, make_walk(rate=500), report_ms=10))
        await until(lambda: reports.decided(1))  # noqa: B023
        prober.close()
        prober.close()
        assert reports.decided(1)[0] == 0
        nonces.add(prober.nonce)
    assert len(nonces) == 2


@functools.partial(in_namespace, unshare="-Ur")
async def test_without_the_right_to_probe_the_plan_is_refused() -> None:
    """In a user namespace, but in the network namespace of another one: a root without CAP_NET_RAW."""
    prober = Prober(Reports().deliver)
    with pytest.raises(PlanError, match="this agent cannot probe: Operation not permitted; give it CAP_NET_RAW"):
        prober.apply(make_plan(1, make_walk()))
    prober.apply(make_plan(2))
    prober.close()


@in_namespace
async def test_a_source_that_is_not_ours_is_refused_and_the_old_plan_stays() -> None:
    Router()
    reports = Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk()))
    with pytest.raises(PlanError, match=r"^walk 2: 20\.0\.0\.3 is no address of this machine$"):
        prober.apply(make_plan(2, make_walk(), make_walk(2, agent="20.0.0.3")))
    await until(lambda: reports.decided(1))
    prober.close()
    assert {report.plan_version for report in reports.all} == {1}


@in_namespace
async def test_the_receive_port_can_change() -> None:
    Router()
    reports = Reports()
    prober = Prober(reports.deliver)
    prober.apply(make_plan(1, make_walk()))
    await until(lambda: reports.decided(1))
    prober.apply(make_plan(2, make_walk(2, port=4000), port=4000))
    await until(lambda: len(reports.decided(2)) >= 20)
    prober.close()
    assert None not in reports.rtts(2)
