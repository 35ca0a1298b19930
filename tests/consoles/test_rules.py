"""Rules: a line opens one incident with those around it, however often it comes, and silence resolves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import F
from django.test import Client
from django.urls import reverse

from agents.models import Agent
from consoles import ears, rules
from consoles.ears import Ears
from consoles.hub import Port
from consoles.models import ConsoleMatch, ConsolePort, ConsoleRule
from consoles.packs import packs
from consoles.rules import Hit
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import HANG, GatewayProcess, wait_for
from tests.consoles.conftest import Device, agent_with, opened
from ticketing.models import Incident, IncidentEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port(team: Team, agent: Agent) -> ConsolePort:
    with team_scope(team.pk):
        made: ConsolePort = ConsolePort.objects.create(agent=agent, name="/dev/serial/by-id/usb-R1", title="fw-1")
        return made


def _rule(team: Team, **values: Any) -> ConsoleRule:
    with team_scope(team.pk):
        return rules.rule_create(**{"name": "Panic", "pattern": "kernel panic", **values})


def _hit(rule: ConsoleRule, offset: int, last: int | None = None, count: int = 1) -> Hit:
    return Hit(rule.pk, offset, offset if last is None else last, count, "kernel panic", ("before", "> kernel panic"))


def _incidents(team: Team, **which: Any) -> list[Incident]:
    with team_scope(team.pk):
        return list(Incident.objects.filter(kind=rules.KIND, **which).order_by("pk"))


async def _incident(team: Team) -> Incident:
    found: list[Incident] = await asyncio.to_thread(wait_for, lambda: _incidents(team))
    return found[0]


def test_a_line_at_a_port_opens_an_incident_with_the_lines_around(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, alice_client: Client
) -> None:
    rule = _rule(team)
    _rule(team, name="Elsewhere", pattern="kernel", only="nowhere-*")

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            lines = [f"line {number}".encode() for number in range(9)]
            lines[6:6] = [b"[ 1.2] \x1b[31mkernel\x1b[0m panic <b>\xff - not syncing"]
            await device.say(b"\r\n".join(lines) + b"\r\nfw-1> ")
            incident = await _incident(team)
            assert incident.title == f"Panic on {port}"
            assert incident.severity == "warning"
            shown = incident.evidence["rules"]["lines"]
            matched = "> [ 1.2] kernel panic <b>� - not syncing"
            assert shown == [
                "line 1",
                "line 2",
                "line 3",
                "line 4",
                "line 5",
                matched,
                "line 6",
                "line 7",
                "line 8",
                "fw-1>",
            ]
            page = await asyncio.to_thread(alice_client.get, reverse("incident", args=["red", incident.pk]))
            assert "kernel panic &lt;b&gt;" in page.content.decode()
            assert reverse("console", args=["red", port.pk]) in page.content.decode()

    asyncio.run(scenario())
    assert len(_incidents(team)) == 1
    with team_scope(team.pk):
        match = ConsoleMatch.objects.get()
        assert (match.rule_id, match.count) == (rule.pk, 1)
        assert IncidentEvent.objects.filter(text__contains="kernel panic").exists()


def test_a_rule_that_is_made_while_the_port_is_open_sees_what_comes_then(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device
) -> None:
    async def scenario() -> None:
        async with agent_with(identity, device), asyncio.timeout(HANG):
            await opened(team, device)
            await device.say(b"kernel panic of old\r\n")
            await asyncio.to_thread(_rule, team, pattern="kernel panic|> ?$", name="Late")
            # A prompt has no end; it is looked at when nothing follows it.
            while not await asyncio.to_thread(_incidents, team):
                await device.say(b"\r\nrommon 1 > ")
                await asyncio.sleep(2 * ears.AFTER_S)
            [incident] = await asyncio.to_thread(_incidents, team)
            assert "of old" not in incident.causes["rules"]["reason"]

    asyncio.run(scenario())


class _Log:
    """A port without an agent: its log on disk and what it remembers are real."""

    def __init__(self, port: ConsolePort) -> None:
        assert port.team_id
        self.port = Port(port.team_id, port.pk)
        self.port.log.own(1)
        self.port.link = object()  # type: ignore[assignment]

    def say(self, data: bytes) -> None:
        self.port.take(self.port.end, data)


async def _until(work: Callable[[], bool], heard: Ears) -> None:
    task = asyncio.create_task(heard.run())
    try:
        async with asyncio.timeout(HANG):
            while not await asyncio.to_thread(work):
                assert not task.done()
                await asyncio.sleep(0.05)
    finally:
        task.cancel()


def _count(team: Team) -> int:
    with team_scope(team.pk):
        return sum(ConsoleMatch.objects.values_list("count", flat=True))


def test_a_flood_is_one_incident_and_few_words_to_the_database(
    team: Team, port: ConsolePort, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CONSOLE_STORE = tmp_path
    monkeypatch.setattr(ears, "TOLD_S", 0.0)
    told = []

    def matched(**given: Any) -> None:
        told.append(given)
        rules.rules_matched(**given)

    monkeypatch.setattr(ears, "rules_matched", matched)
    _rule(team)

    async def scenario() -> None:
        log, heard = _Log(port), Ears()
        heard.listen(log.port)
        log.say(b"x" * 1_000_000 + b"\n" + b"kernel panic\r\n" * 20_000)
        await _until(lambda: _count(team) == 20_000, heard)

    asyncio.run(scenario())
    assert len(_incidents(team)) == 1
    assert len(told) < 50


def test_nothing_is_seen_twice_or_missed_when_a_gateway_dies(
    team: Team, port: ConsolePort, settings: Any, tmp_path: Any
) -> None:
    settings.CONSOLE_STORE = tmp_path
    _rule(team)

    async def scenario() -> None:
        log, first, second = _Log(port), Ears(), Ears()
        first.listen(log.port)
        log.say(b"kernel panic 1\r\nhalf a line: kernel ")
        await _until(lambda: _count(team) == 1, first)
        log.say(b"panic 2\r\n")
        second.listen(log.port)
        await _until(lambda: _count(team) == 2, second)

    asyncio.run(scenario())
    [incident] = _incidents(team)
    assert incident.evidence["rules"]["lines"][0] == "> kernel panic 1"


def test_one_incident_until_it_is_quiet_and_the_next_is_another_episode(team: Team, port: ConsolePort) -> None:
    rule = _rule(team, hold_s=60, severity="critical")
    with team_scope(team.pk):
        for hits in ([_hit(rule, 10)], [_hit(rule, 10)], [_hit(rule, 30, 50, 3)], [_hit(rule, 40, 50)]):
            rules.rules_matched(port_id=port.pk, looked=60, hits=hits)
        match = ConsoleMatch.objects.get()
        assert (match.count, match.offset) == (4, 50)
        assert ConsolePort.objects.get().looked == 60
        Agent.objects.update(online=True)
        assert rules.rules_watch() == 0
    assert [each.state for each in _incidents(team)] == ["open"]
    with team_scope(team.pk):
        ConsoleMatch.objects.update(last=F("last") - timedelta(seconds=61))
        Agent.objects.update(online=False)
        assert rules.rules_watch() == 0, "nobody hears whether it is quiet"
        Agent.objects.update(online=True)
        assert rules.rules_watch() == 1
        rules.rules_matched(port_id=port.pk, looked=90, hits=[_hit(rule, 80)])
    assert [(each.state, each.episode) for each in _incidents(team)] == [("resolved", 1), ("open", 2)]


def test_a_rule_that_goes_takes_its_incident_along(team: Team, port: ConsolePort) -> None:
    rule, other = _rule(team), _rule(team, name="Other")
    with team_scope(team.pk):
        rules.rules_matched(port_id=port.pk, looked=9, hits=[_hit(rule, 1), _hit(other, 1)])
        rules.rule_update(rule=rule, enabled=False)
        rules.rules_matched(port_id=port.pk, looked=9, hits=[_hit(rule, 5)])
        rules.rule_delete(rule=other)
    assert [each.state for each in _incidents(team)] == ["resolved", "resolved"]


@pytest.mark.parametrize(
    ("only", "applies"), [("", True), ("FW-*", True), ("usb-r1", True), ("core-*", False), ("r", False)]
)
def test_which_ports_it_is_about(only: str, applies: bool, port: ConsolePort) -> None:
    assert ConsoleRule(team_id=port.team_id, only=only).applies(port) is applies


def test_a_pack_is_switched_on_and_off_and_keeps_what_people_changed(team: Team) -> None:
    with team_scope(team.pk):
        count = rules.pack_switch(pack="linux", on=True)
        assert count == len(packs()["linux"].rules) == ConsoleRule.objects.filter(enabled=True, pack="linux").count()
        rules.rule_update(rule=ConsoleRule.objects.get(name="Linux: link down"), pattern="my own")
        assert rules.pack_switch(pack="linux", on=False) == count
        assert rules.pack_switch(pack="linux", on=True) == count
        assert ConsoleRule.objects.get(name="Linux: link down").pattern == "my own"


def test_there_is_a_limit(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_ENABLED", 2)
    _rule(team, name="a")
    second = _rule(team, name="b")
    with pytest.raises(ValidationError, match="2 rules on"):
        _rule(team, name="c")
    with team_scope(team.pk), pytest.raises(ValidationError):
        rules.pack_switch(pack="linux", on=True)
    with team_scope(team.pk):
        rules.rule_update(rule=second, pattern="other")
    _rule(team, name="c", enabled=False)


FORM = {"name": "Panic", "pattern": "kernel panic", "severity": "critical", "hold_s": "600", "enabled": "on"}


def test_the_pages(
    team: Team, port: ConsolePort, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    new, listed = reverse("console-rule-new", args=["red"]), reverse("console-rules", args=["red"])
    wrong = alice_client.post(new, FORM | {"pattern": "kernel (panic"}).content.decode()
    assert "missing ) at character 8" in wrong
    assert "kernel (panic" in wrong
    assert alice_client.post(new, FORM).status_code == 302
    assert "kernel panic" in bob_client.get(listed).content.decode()
    assert bob_client.post(new, FORM).status_code == 403
    assert charlie_client.get(listed).status_code == 404
    with team_scope(team.pk):
        rule = ConsoleRule.objects.get()
    edit = reverse("console-rule", args=["red", rule.pk])
    assert "already" in alice_client.post(new, FORM).content.decode()
    assert alice_client.post(edit, FORM | {"pattern": "oops", "enabled": "off"}).status_code == 302
    with team_scope(team.pk):
        rule.refresh_from_db()
        assert (rule.pattern, rule.enabled) == ("oops", False)
    assert alice_client.post(reverse("console-pack", args=["red", "ios"]), {"on": "1"}).status_code == 302
    assert alice_client.post(reverse("console-pack", args=["red", "nothing"]), {"on": "1"}).status_code == 404
    assert "Cisco IOS: link down" in alice_client.get(listed).content.decode()
    assert alice_client.post(reverse("console-rule-delete", args=["red", rule.pk])).status_code == 302
    with team_scope(team.pk):
        assert not ConsoleRule.objects.filter(pk=rule.pk).exists()


def test_a_pattern_is_tried_on_what_a_port_said(
    team: Team, port: ConsolePort, alice_client: Client, settings: Any, tmp_path: Any
) -> None:
    settings.CONSOLE_STORE = tmp_path
    new = reverse("console-rule-new", args=["red"])
    tried = FORM | {"try": "1", "port": port.pk}
    assert "has said nothing yet" in alice_client.post(new, tried).content.decode()

    async def said() -> None:
        _Log(port).say(b"ok\r\n\x1b[1mkernel\x1b[0m panic <i>\r\n" * 3)

    asyncio.run(said())
    page = alice_client.post(new, tried).content.decode()
    assert "3 of the last 6 lines of fw-1 match" in page
    assert "kernel panic &lt;i&gt;" in page
    assert "None of the last 6 lines" in alice_client.post(new, tried | {"pattern": "nothing"}).content.decode()
    assert "Choose the console" in alice_client.post(new, tried | {"port": ""}).content.decode()
    assert "at character 1" in alice_client.post(new, tried | {"pattern": "("}).content.decode()
    with team_scope(team.pk):
        assert not ConsoleRule.objects.exists()


def test_rest(team: Team, alice_client: Client, bob_client: Client) -> None:
    url = "/api/consoles/rules/"
    made = alice_client.post(url, {"name": "x", "pattern": "a{2}", "hold_s": 60}, content_type="application/json")
    assert made.status_code == 201, made.content
    bad = alice_client.post(url, {"name": "y", "pattern": "a["}, content_type="application/json")
    assert bad.status_code == 400
    assert "at character 2" in str(bad.json())
    assert bob_client.post(url, {"name": "y", "pattern": "a"}, content_type="application/json").status_code == 403
    assert bob_client.get(url).json()["count"] == 1
