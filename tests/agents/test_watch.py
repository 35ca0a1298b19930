"""Online, late, dead: by the server's clock, the same wherever it is asked, and one incident for who is dead."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from agents import tasks
from agents.models import Agent
from agents.services import agent_update, heard, link_open
from agents.watch import agents_watch
from core.scope import team_scope
from pi_agent.frames import Hello
from tenancy.models import Team
from tests.agents.machines import BOOT
from ticketing.models import Incident

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.get_default_timezone())


def past(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def agent(**values: Any) -> Agent:
    made: Agent = Agent.objects.create(**{"name": "pi", "public_key": "ab" * 32, **values})
    return made


def watch(since: datetime = LONG_AGO) -> tuple[int, list[str]]:
    changed = agents_watch(listening_since=since)
    return changed, list(Incident.objects.order_by("pk").values_list("state", flat=True))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "new"), ({"state": "waiting", "last_seen": 0}, "waiting"), ({"state": "revoked"}, "revoked"),
        ({"online": True, "last_seen": 5}, "online"), ({"online": True, "last_seen": 40}, "late"),
        ({"online": False, "last_seen": 5}, "late"), ({"reported": 100, "last_seen": 100}, "online"),
        ({"reported": 130, "last_seen": 130}, "late"), ({"last_seen": 310}, "dead"),
        ({"last_seen": 310, "holdtime_s": 600}, "late"), ({"last_seen": 3 * 86400, "online": True}, "dead"),
        ({"state": "legacy", "reported": 10, "last_seen": 10}, "online"),
        ({"reported": 130, "last_seen": 130, "interval_s": 90}, "online"),
    ],
)  # fmt: skip
def test_what_it_is(values: dict[str, Any], status: str, scope: Team) -> None:
    times = {name: past(ago) for name, ago in values.items() if name in ("last_seen", "reported")}
    assert agent(**{**values, **times}).status_now == status
    assert Agent.objects.with_status().get().status == status


def test_row_query_and_metrics_say_the_same(scope: Team) -> None:
    ages: tuple[int | None, ...] = (None, 5, 40, 100, 130, 290, 310)
    for number, each in enumerate(product(Agent.State.values, (True, False), ages, ages)):
        state, online, seen, reported = each
        Agent.objects.create(
            name=str(number), serial=str(number), state=state, online=online,
            last_seen=None if seen is None else past(seen), reported=None if reported is None else past(reported),
        )  # fmt: skip
    counts: dict[str, int] = {}
    for row in Agent.objects.with_status():
        assert row.status == row.status_now, vars(row)
        counts[row.status] = counts.get(row.status, 0) + 1
    assert len(counts) == 6
    with connection.cursor() as cursor:
        cursor.execute("SELECT label, value FROM netops_totals() WHERE family = 'agents'")
        assert dict(cursor.fetchall()) == counts


def test_one_incident_when_it_dies_and_none_before(scope: Team) -> None:
    made = agent(last_seen=past(290))
    assert watch() == (0, [])
    Agent.objects.update(last_seen=past(310))
    assert watch() == (1, ["open"])
    assert watch() == (0, ["open"])
    incident = Incident.objects.get()
    assert (incident.kind, incident.element, list(incident.causes)) == ("agent", f"agent:{made.pk}", ["agents"])
    assert incident.title == "Agent pi is dead"


def test_it_resolves_when_the_agent_is_back_for_good(scope: Team) -> None:
    made = agent(last_seen=past(400))
    watch()
    link_open(
        agent_id=made.pk,
        hello=Hello(bytes(32), bytes(64), BOOT, "pi", "0.1.0", {}, {}),
    )
    assert watch() == (0, ["open"]), "it may go again"
    back = Agent.objects.get().back
    assert back is not None
    Agent.objects.update(back=back - timedelta(seconds=300))
    assert watch() == (1, ["resolved"])


def test_flapping_is_one_incident(scope: Team) -> None:
    agent(last_seen=past(310))
    for _ in range(5):
        watch()
        heard(Agent.objects.all(), reported=timezone.now())
        watch()
        Agent.objects.update(last_seen=past(310), reported=past(310))
    assert watch()[1] == ["open"]


def test_none_while_it_is_under_maintenance_or_put_out(scope: Team) -> None:
    made = agent(last_seen=past(400))
    agent_update(agent=made, maintenance=True)
    assert watch() == (0, [])
    agent_update(agent=made, maintenance=False)
    assert watch()[1] == ["open"]
    agent_update(agent=made, maintenance=True)
    assert watch() == (1, ["resolved"])
    agent_update(agent=made, maintenance=False)
    assert watch()[1] == ["resolved", "open"]
    Agent.objects.update(state="revoked")
    assert watch() == (1, ["resolved", "resolved"])


def test_nobody_is_dead_for_silence_while_nobody_listened(scope: Team) -> None:
    agent(last_seen=past(4000))
    assert watch(past(290)) == (0, [])
    assert watch(past(310)) == (1, ["open"])


def test_the_sweep_looks_after_every_team(team: Team, other_team: Team, valkey: None) -> None:
    cache.clear()
    for each, key in ((team, "ab"), (other_team, "cd")):
        with team_scope(each.pk):
            agent(last_seen=past(400), public_key=key * 32)
    assert tasks.watch() == 0, "it has only begun to listen"
    cache.set(tasks.LISTENING, past(400), 60)
    assert tasks.watch() == 2
    for each in (team, other_team):
        with team_scope(each.pk):
            assert Incident.objects.open().count() == 1
