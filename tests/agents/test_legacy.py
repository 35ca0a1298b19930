"""PiCon agents register unmodified, and the faults of the server that they know do not return."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client, override_settings
from django.utils import timezone

from agents.enrolment import agent_revoke
from agents.legacy import legacy_token_create
from agents.models import Agent
from agents.watch import agents_watch
from core.redaction import Redacting, redacted
from core.scope import team_scope
from tenancy.models import Team
from tests.agents.machines import Machine, post
from tests.agents.test_pages import enrolled
from ticketing.models import Incident

KNOWN: dict[str, Any] = json.loads(Path(__file__).with_name("picon_registration.json").read_text())
REQUEST: dict[str, Any] = KNOWN["request"]


@pytest.fixture
def secret(team: Team, valkey: None) -> str:
    cache.clear()
    return token(team)


def token(team: Team, **values: Any) -> str:
    with team_scope(team.pk):
        return legacy_token_create(name="PiCon", **values)[1]


def send(secret: str, end: str = "", **changes: Any) -> HttpResponse:
    return post(f"/picon/{secret}/api/register{end}", json.dumps({**REQUEST, **changes}).encode())


def said(answer: HttpResponse) -> Any:
    return json.loads(answer.content)


def rows(team: Team) -> list[Any]:
    with team_scope(team.pk):
        return list(Agent.objects.with_status().order_by("pk"))


@pytest.mark.parametrize("end", ["", "/"])
def test_it_registers_unmodified_and_gets_the_answer_it_understands(end: str, secret: str, team: Team) -> None:
    answer = send(secret, end)
    assert (answer.status_code, said(answer)) == (
        200, {"status": "ok", "tunnel": {"port": KNOWN["response"]["tunnel"]["port"], "server": settings.SSH_HOST}},
    )  # fmt: skip
    (agent,) = rows(team)
    assert (agent.state, agent.status, agent.hostname, agent.serial, agent.holdtime_s) == (
        "legacy", "online", "picon", "000000003316e619", 300,
    )  # fmt: skip
    assert [port["name"] for port in agent.ports] == ["ttyUSB0"]


def test_first_and_later_answers_have_one_shape(secret: str) -> None:
    assert said(send(secret)) == said(send(secret)) == said(send(secret))


def test_each_device_has_its_own_stored_port(secret: str, team: Team, other_team: Team) -> None:
    other = token(other_team)
    sent = [(secret, "a"), (secret, "b"), (other, "c"), (secret, "d")]
    ports = [said(send(each, sn=serial))["tunnel"]["port"] for each, serial in sent]
    assert ports == [2220, 2221, 2222, 2223]
    assert [said(send(each, sn=serial))["tunnel"]["port"] for each, serial in sent] == ports
    assert [agent.tunnel_port for agent in rows(team)] == [2220, 2221, 2223]


def test_interfaces_without_addresses_stay(secret: str, team: Team) -> None:
    send(secret)
    (agent,) = rows(team)
    told = {each["name"]: (each["up"], each["addresses"]) for each in agent.interfaces}
    assert told["lo"] == (False, [])
    assert told["wlan0"] == (True, REQUEST["interfaces"]["wlan0"]["addrs"])


def test_a_device_silent_for_days_is_dead_and_one_incident(secret: str, team: Team) -> None:
    send(secret)
    with team_scope(team.pk):
        long_ago = timezone.now() - timedelta(days=3)
        Agent.objects.update(last_seen=long_ago, reported=long_ago)
        assert Agent.objects.with_status().get().status == "dead"
        agents_watch(listening_since=long_ago)
        assert Incident.objects.open().count() == 1
    send(secret)
    assert rows(team)[0].status == "online"


def test_the_same_serial_number_of_two_teams_is_two_devices(secret: str, team: Team, other_team: Team) -> None:
    assert send(secret).status_code == send(token(other_team)).status_code == 200
    assert (len(rows(team)), len(rows(other_team))) == (1, 1)
    send(secret, hostname="clone")
    assert [agent.hostname for agent in rows(team)] == ["picon", "clone"]


def test_it_is_never_merged_with_an_enrolled_agent(secret: str, team: Team) -> None:
    mine = enrolled(team, Machine(), hostname="picon", serial=REQUEST["sn"])
    send(secret)
    agents = rows(team)
    assert [(agent.name, agent.state) for agent in agents] == [("picon", "enrolled"), ("picon-2", "legacy")]
    assert agents[0].ports == mine.ports or agents[0].ports[0]["serial"] == "A1"


def test_an_unknown_token_a_foreign_network_and_a_revoked_machine_look_alike(secret: str, team: Team) -> None:
    limited = token(team, networks=["192.0.2.0/24"])
    answers = [send("x" * 32), send(limited)]
    assert send(secret).status_code == 200
    with team_scope(team.pk):
        agent_revoke(agent=Agent.objects.get())
    answers.append(send(secret))
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    body = json.dumps({**REQUEST, "sn": "1"}).encode()
    assert post(f"/picon/{limited}/api/register", body, REMOTE_ADDR="192.0.2.9").status_code == 200
    with override_settings(AGENT_RATE=1):
        cache.clear()
        assert [send(secret, sn="2").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("changes", "status", "named"),
    [
        ({"holdtime": "300"}, 400, "holdtime"), ({"holdtime": 0}, 400, "holdtime"), ({"hostname": 5}, 400, "hostname"),
        ({"hostname": "a\x1b]0;x\x07"}, 400, "hostname"), ({"sn": ["x"]}, 400, "sn"),
        ({"ports": "ttyUSB0"}, 400, "ports"),
        ({"ports": [f"tty{n}" for n in range(10_000)]}, 400, "ports"), ({"ports": ["\x1b[2J"]}, 400, "ports"),
        ({"interfaces": []}, 400, "interfaces"), ({"interfaces": {"eth0": 1}}, 400, "interfaces"),
        ({"interfaces": {"eth0": {"addrs": ["nowhere"], "state": True}}}, 400, "addrs"),
        ({"interfaces": {"eth0": {"addrs": [], "state": "up"}}}, 400, "state"),
        ({"more": "x" * 10_000_000}, 413, "bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, Any], status: int, named: str, secret: str, team: Team) -> None:
    answer = send(secret, **changes)
    assert (answer.status_code, named in answer.content.decode()) == (status, True), answer.content[:300]
    assert rows(team) == []


def test_text_is_escaped(secret: str, alice_client: Client, team: Team) -> None:
    hostile = "<script>alert(1)</script>"
    assert send(secret, hostname=hostile, sn=hostile, ports=[hostile]).status_code == 200
    for path in ("", f"{rows(team)[0].pk}/"):
        html = alice_client.get(f"/t/red/agents/{path}").content.decode()
        assert "&lt;script&gt;alert(1)" in html
        assert hostile not in html


def test_the_token_is_in_no_log(secret: str, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(Redacting())
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(handler.format(record)))
    monkeypatch.setattr("agents.doors.legacy_register", lambda **_: 1 / 0)
    log = logging.getLogger("django.request")
    log.addHandler(handler)
    try:
        answer: Any = Client(raise_request_exception=False).post(f"/picon/{secret}/api/register")
    finally:
        log.removeHandler(handler)
    assert answer.status_code == 500
    assert "/picon/…/api/register" in "".join(lines)
    assert secret not in "".join(lines)
    formatters: Any = settings.LOGGING["formatters"]
    assert formatters["line"]["()"] == "core.redaction.Redacting"
    assert secret not in redacted(f'127.0.0.1 - "POST /picon/{secret}/api/register HTTP/1.1" 200')
    with team_scope(team.pk):
        assert secret not in str([vars(each) for each in Agent.objects.all()])


def test_the_page_makes_an_address_that_works_and_shows_it_once(alice_client: Client, team: Team, valkey: None) -> None:
    answer = alice_client.post("/t/red/agents/picon/", {"name": "Old ones", "networks": "127.0.0.0/8"})
    html = answer.content.decode()
    secret = html.partition("/picon/")[2].partition("/")[0]
    assert send(secret).status_code == 200
    shown = alice_client.get("/t/red/agents/picon/").content.decode()
    assert secret not in shown
    assert "127.0.0.0/8" in shown
    assert "a proxy on the way may log it" in shown
    wrong = alice_client.post("/t/red/agents/picon/", {"name": "x", "networks": "nowhere"}).content.decode()
    assert "is no network" in wrong
