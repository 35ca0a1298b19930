"""Reports become history and state: exactly once, whatever the bytes and whoever dies."""

from __future__ import annotations

import struct
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Agent
from core import drain
from core.scope import current_team_id, team_scope
from pi_agent.prober.report import Record, Report, encode
from probing import evaluation, reports
from probing.models import Campaign, Path, PathMinute, ReportBatch
from probing.tasks import ensure_partitions, mark_silent
from tenancy.models import Team
from tests.probing.network import Simulation, seed_campaign, seed_network
from ticketing.models import Incident


@pytest.fixture
def simulation(scope: Team) -> Simulation:
    seed_network()
    return Simulation(seed_campaign())


def total(name: str) -> int:
    return int(PathMinute.objects.aggregate(sum=Sum(name))["sum"] or 0)


def report(*records: Record, version: int = 1) -> bytes:
    return encode(Report(version, int(timezone.now().timestamp() * 1e6), records))


def test_every_probe_is_in_the_history_once(simulation: Simulation) -> None:
    simulation.everywhere = 0.02
    simulation.run(70)
    decided = sum(tally.sequence for tally in simulation._tallies.values()) - total("sent")
    assert 0 <= decided <= 6 * len(simulation._tallies), "all but what is still in flight"
    rows = PathMinute.objects.filter(path=simulation._paths[0]).order_by("minute")
    assert len(rows) in (2, 3)
    for row in rows:
        assert len(row.rtts) == 2 * row.received
        expected = 0.2 * len([*simulation._paths[0].out, *simulation._paths[0].back])
        for rtt in struct.unpack(f"<{row.received}e", bytes(row.rtts)):
            assert rtt == pytest.approx(expected, rel=1e-3)
    path = Path.objects.get(pk=simulation._paths[0].pk)
    assert path.rtt_us == 200 * len([*path.out, *path.back])
    assert path.loss_percent is not None


def test_a_worker_killed_in_a_batch_repeats_nothing(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies after its writes and before its commit, at every third report."""
    simulation.everywhere = 0.05
    evaluate, calls = evaluation.evaluate, 0

    def die(campaign: Campaign, paths: object) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise SystemExit("killed")
        evaluate(campaign, paths)  # type: ignore[arg-type]

    monkeypatch.setattr(reports, "evaluate", die)
    deliver = simulation.deliver

    def survive(payload: bytes) -> None:
        try:
            deliver(payload)
        except SystemExit:
            drain.get("reports").run(current_team_id(), simulation.agent.pk)

    simulation.deliver = survive  # type: ignore[method-assign]
    simulation.run(20)
    assert calls > 60
    assert not ReportBatch.objects.exists()
    sent = sum(tally.sequence for tally in simulation._tallies.values())
    pending = sum(len(tally._sent) - tally._done for tally in simulation._tallies.values())
    assert total("sent") == sent - pending
    seen = sum(path.detector["seen"] for path in Path.objects.active())
    assert seen == total("sent"), "detectors saw each probe once as well"


def test_a_restarted_prober_goes_on(simulation: Simulation) -> None:
    simulation.run(2)
    simulation._tallies.clear()  # sequences begin at 0 again
    simulation.run(3)
    assert set(Path.objects.active().values_list("state", flat=True)) == {"up"}
    assert not Incident.objects.exists()


def test_paths_of_an_older_plan_are_ignored_and_strangers_dropped(simulation: Simulation) -> None:
    gone, active = Path.objects.active().order_by("id")[:2]
    Path.objects.filter(pk=gone.pk).update(active=False)
    lost = (None,) * 20
    simulation.deliver(report(Record(gone.pk, 0, lost), Record(10**6, 0, lost), Record(active.pk, 0, (500,) * 20)))
    gone.refresh_from_db()
    assert (gone.state, gone.heard) == ("unknown", None)
    assert Path.objects.get(pk=active.pk).state == "up"
    assert set(PathMinute.objects.values_list("path_id", flat=True)) == {gone.pk, active.pk}, "its history is complete"


def test_another_agents_paths_cannot_be_written(simulation: Simulation) -> None:
    other = Agent.objects.create(name="other", public_key="cd" * 32)
    path = Path.objects.active().first()
    assert path
    simulation.agent = other
    simulation.deliver(report(Record(path.pk, 0, (None,) * 20)))
    assert not PathMinute.objects.exists()
    assert Path.objects.get(pk=path.pk).state == "unknown"


def test_hostile_bytes_are_dropped_and_counted(simulation: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    path = Path.objects.active().first()
    assert path
    good = report(Record(path.pk, 0, (500,) * 10))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of(
            st.binary(max_size=80),
            st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)).map(
                lambda at: good[: at[0]] + bytes([at[1]]) + good[at[0] + 1 :]
            ),
        )
    )
    def attack(payload: bytes) -> None:
        simulation.deliver(payload)

    attack()
    assert not ReportBatch.objects.exists()
    assert "could not be read and were dropped" in caplog.text
    simulation.deliver(good)
    assert Path.objects.get(pk=path.pk).state == "up"


@pytest.mark.parametrize("count", [0, 1, 0xFFFF])
def test_the_largest_values_fit_their_columns(simulation: Simulation, count: int) -> None:
    path = Path.objects.active().first()
    assert path
    record = Record(path.pk, 2**32 - 1, (2**32 - 1,) * count, 0xFFFF, 0xFFFF, 0xFFFF)
    for end in (0, 2**64 - 1, int(timezone.now().timestamp() * 1e6)):
        simulation.deliver(encode(Report(2**32 - 1, end, (record,))))
    PathMinute.objects.update(sent=2**31 - 1, late=2**31 - 1)
    simulation.deliver(report(record))
    assert max(PathMinute.objects.values_list("late", flat=True)) == 2**31 - 1
    assert all(len(rtts) <= reports.MAX_MINUTE for rtts in PathMinute.objects.values_list("rtts", flat=True))


def test_a_day_without_a_partition_gets_one(simulation: Simulation) -> None:
    path = Path.objects.active().first()
    assert path
    row = ReportBatch.objects.create(
        agent=simulation.agent, boot="b", offset=0, payload=report(Record(path.pk, 0, (5,)))
    )
    ReportBatch.objects.filter(pk=row.pk).update(received=timezone.now() + timedelta(days=40))
    drain.get("reports").run(current_team_id(), simulation.agent.pk)
    assert PathMinute.objects.get().minute > timezone.now() + timedelta(days=39)


def test_latency_makes_a_path_degraded_and_opens_nothing(simulation: Simulation) -> None:
    path = Path.objects.active().first()
    assert path
    simulation.deliver(report(Record(path.pk, 0, (300_000,) * 30)))
    assert Path.objects.get(pk=path.pk).state == "degraded"
    assert not Incident.objects.exists()


def test_pages_are_told_of_a_new_state_at_once_and_of_figures_once_a_second(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(reports, "publish", lambda team, topic: told.append(topic))
    simulation.run(10)
    assert set(told) == {"paths"}
    assert 9 <= len(told) <= 14
    simulation.cut = {("R2", "R4")}

    def down() -> bool:
        if Path.objects.filter(state="down").exists():
            return True
        told.clear()
        return False

    simulation.run(5, until=down)
    assert Path.objects.filter(state="down").exists()
    assert told == ["paths"]


@pytest.mark.django_db(transaction=True)
def test_the_clock_tasks_look_after_every_team(team: Team, other_team: Team) -> None:
    ensure_partitions()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'probing_pathminute'::regclass")
        assert cursor.fetchone()[0] >= 5
    for each in (team, other_team):
        with team_scope(each.pk):
            seed_network()
            seed_campaign()
            old = timezone.now() - timedelta(minutes=1)
            Path.objects.update(state="down", heard=old)
            Agent.objects.update(online=True, last_seen=old)
    assert mark_silent() > 20
    for each in (team, other_team):
        with team_scope(each.pk):
            assert set(Path.objects.values_list("state", flat=True)) == {"unknown"}
            assert not Agent.objects.get().online
            assert not Incident.objects.exists()
    assert mark_silent() == 0
