"""Two machines with one key: told from one that started again, one incident, and what people may choose."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from agents.clones import clash_report
from agents.enrolment import agent_revoke, enrolment_token_create
from agents.models import Agent
from core.scope import team_scope
from pi_agent.enrolment import HEARTBEAT_PATH
from pi_agent.identity import Identity
from pi_agent.link import boot_id
from pi_agent.post import post
from pi_agent.registration import Registration
from pi_agent.reports import signed_headers
from pi_agent.state import boot_clock_ns
from tenancy.models import Team
from tenancy.trail import Wanted, entries
from tests.agents.conftest import GatewayProcess, linked, socket_path, until, wait_for
from tests.agents.machines import Machine
from tests.agents.machines import post as send
from tests.agents.programs import Program
from ticketing.models import Incident

NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.get_default_timezone())


class Clock:
    """The server's time, as a test sets it in seconds after noon."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr("django.utils.timezone.now", lambda: self.now)

    def at(self, seconds: float) -> None:
        self.now = NOON + timedelta(seconds=seconds)


class Boot:
    """One boot of a machine with the key of `card`, begun at that second; its reports count as the program's do."""

    def __init__(self, card: Machine, clock: Clock, began: float) -> None:
        self._card, self._clock, self.boot = card, clock, uuid.uuid4()
        self._began = NOON + timedelta(seconds=began)

    def headers(self, late: float = 0) -> dict[str, str]:
        """Of a report signed `late` seconds ago."""
        self._card.boot = self.boot
        signed = self._clock.now - timedelta(seconds=late)
        self._card.counter = round((signed - self._began).total_seconds() * 1e9)
        return self._card.headers(HEARTBEAT_PATH, b"{}")

    def report(self, late: float = 0) -> int:
        return self.send(self.headers(late))

    @staticmethod
    def send(headers: dict[str, str]) -> int:
        return send(HEARTBEAT_PATH, b"{}", headers).status_code


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def card(team: Team, valkey: None, clock: Clock) -> Machine:
    """Enrolled."""
    cache.clear()
    clock.now = timezone.now()
    with team_scope(team.pk):
        secret = enrolment_token_create(name="Sites", expires=datetime(2100, 1, 1, tzinfo=NOON.tzinfo))[1]
    made = Machine()
    assert made.enrol(secret).status_code == 201
    clock.at(0)
    return made


def incidents(team: Team) -> list[tuple[str, str]]:
    with team_scope(team.pk):
        return list(Incident.objects.order_by("pk").values_list("title", "state"))


SEEN = [("Two machines use the key of agent pi4", "open")]


def test_two_machines_that_report_by_http_are_seen_within_a_minute_and_are_one_incident(
    card: Machine, clock: Clock, team: Team
) -> None:
    first, second = Boot(card, clock, -3600), Boot(card, clock, 5)
    for now in (0, 60, 120):
        clock.at(now)
        assert first.report() == 200
        clock.at(now + 25)
        assert second.report() == 200, "both are heard until somebody chooses"
        assert incidents(team) == (SEEN if now else [])
    with team_scope(team.pk):
        assert Incident.objects.get().events.count() == 1, "it is told once"


def test_a_copy_that_runs_for_long_is_seen_at_its_first_report(card: Machine, clock: Clock, team: Team) -> None:
    assert Boot(card, clock, -3600).report() == 200
    clock.at(1)
    assert Boot(card, clock, -300).report() == 200
    assert incidents(team) == SEEN


def test_one_machine_that_starts_again_and_again_never_alarms(card: Machine, clock: Clock, team: Team) -> None:
    at = 0.0
    for lasted, off in ((3600.0, 20.0), (65.0, 8.0), (30.0, 600.0), (5.0, 0.0), (90.0, 9.0), (3600.0, 8.0)):
        boot = Boot(card, clock, at)
        for now in (3.0, lasted / 2 + 2, lasted):
            clock.at(at + now + 2)
            assert boot.report(late=2) == 200
        at += lasted + off
    assert incidents(team) == []


def test_late_and_captured_reports_of_a_boot_that_is_over_never_alarm(card: Machine, clock: Clock, team: Team) -> None:
    """They lay in a proxy or in front of a server that was busy."""
    old, new = Boot(card, clock, -3600), Boot(card, clock, 80)
    captured = old.headers()
    assert old.send(captured) == 200
    clock.at(70)
    held = [old.headers(late=each) for each in (30, 15, 1)]
    clock.at(95)
    assert new.report() == 200
    for now in (96, 200, 4000):
        clock.at(now)
        assert [old.send(each) for each in (captured, *held)] == [409] * 4
        assert new.report() == 200
    assert incidents(team) == []


def test_a_server_whose_clock_is_put_right_does_not_alarm(card: Machine, clock: Clock, team: Team) -> None:
    first = Boot(card, clock, -3600)
    assert first.report() == 200
    for now, jump in ((60, 500), (120, -500), (180, 0)):
        clock.at(now + jump)
        assert first.report(late=jump) == 200
    clock.at(220)
    assert Boot(card, clock, 200).report() == 200
    assert incidents(team) == []


def row(team: Team) -> Agent:
    with team_scope(team.pk):
        agent: Agent = Agent.objects.get()
    return agent


def test_a_copy_that_reports_by_http_beside_a_link_that_answers(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()

    def report() -> None:
        headers = signed_headers(identity, HEARTBEAT_PATH, boot_clock_ns(), b"{}")
        post(f"unix:{socket_path()}", HEARTBEAT_PATH, b"{}", None, headers)

    async def scenario() -> None:
        async with linked(identity) as link:
            link.register(Registration("first", "", "", "", "0.1.0", boot_id(), 1, (), ()))
            await until(lambda: row(team).registered)
            await asyncio.to_thread(report)
            other = uuid.uuid4()
            monkeypatch.setattr("pi_agent.reports.boot_id", lambda: other)
            await asyncio.to_thread(report)
            await until(lambda: incidents(team) == [("Two machines use the key of agent probe1", "open")])

    asyncio.run(scenario())


def test_the_one_that_is_connected_is_kept_with_a_key_of_its_own(
    program: Program, team: Team, alice_client: Client, bob_client: Client
) -> None:
    copied = Identity.load(program.state / "agent.key")
    with program.running():
        wait_for(lambda: row(team).online and row(team).registered)
        before = row(team)
        with team_scope(team.pk):
            clash_report(agent_id=before.pk, evidence={}, found="A copy came")
        page = f"/t/red/agents/{before.pk}/"
        assert "Keep the one that is connected" not in bob_client.get(page).content.decode()
        assert "Keep the one that is connected" in alice_client.get(page).content.decode()
        assert bob_client.post(f"{page}keep/").status_code == 403
        alice_client.post(f"{page}keep/")
        wait_for(lambda: row(team).public_key != before.public_key)
        wait_for(lambda: row(team).epoch > before.epoch + 2)
        wait_for(lambda: row(team).public_key == Identity.load(program.state / "agent.key").public.hex())
    assert row(team).public_key != copied.public.hex()
    assert (row(team).rekey, row(team).name) == (False, before.name)
    assert [state for _, state in incidents(team)] == ["resolved"]
    with team_scope(team.pk):
        told = [entry for entry in entries(Wanted(), limit=50) if "rekey" in str(entry.changes)]
    assert "alice" in str(told)


def test_while_it_takes_another_key_no_other_boot_is_let_in(card: Machine, clock: Clock, team: Team) -> None:
    kept, other = Boot(card, clock, -3600), Boot(card, clock, -300)
    assert kept.report() == 200
    with team_scope(team.pk):
        Agent.objects.update(rekey=True, boot=str(kept.boot))
    clock.at(10)
    assert (other.report(), kept.report()) == (401, 200)


def test_both_are_put_out(card: Machine, clock: Clock, team: Team, alice_client: Client) -> None:
    first, second = Boot(card, clock, -3600), Boot(card, clock, -300)
    assert [first.report(), second.report()] == [200, 200]
    html = alice_client.get(f"/t/red/agents/{row(team).pk}/").content.decode()
    assert "Put both out" in html
    assert "Keep the one" not in html, "neither has a link"
    with team_scope(team.pk):
        agent_revoke(agent=Agent.objects.get())
    clock.at(10)
    assert [first.report(), second.report()] == [401, 401]
    assert [state for _, state in incidents(team)] == ["resolved"]


def test_none_is_kept_where_none_is_connected(card: Machine, team: Team, alice_client: Client) -> None:
    answer: Any = alice_client.post(f"/t/red/agents/{row(team).pk}/keep/", follow=True)
    assert "No link of this agent is up" in answer.content.decode()
    assert not row(team).rekey
