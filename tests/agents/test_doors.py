"""Where agents without a link knock: enrolment and signed reports by HTTP."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, override_settings

from agents import tls
from agents.enrolment import agent_revoke, enrolment_token_create
from agents.models import Agent, AgentBoot
from core.scope import team_scope
from pi_agent.enrolment import (
    ENROL_PATH,
    HEARTBEAT_PATH,
    REGISTER_PATH,
    ROTATE_PATH,
    SIGNATURE_HEADER,
    JoinToken,
    rotate_message,
)
from pi_agent.registration import MAX_BODY, Port
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.agents.machines import Machine, post, registration

OK = {"status": "ok", "holdtime": 300, "interval": 60}


@pytest.fixture
def secret(team: Team, valkey: None) -> str:
    cache.clear()
    with team_scope(team.pk):
        return enrolment_token_create(name="Sites")[1]


@pytest.fixture
def machine(secret: str) -> Machine:
    made = Machine()
    assert made.enrol(secret).status_code == 201
    return made


def said(answer: HttpResponse) -> Any:
    return json.loads(answer.content)


def row(team: Team) -> Any:
    with team_scope(team.pk):
        return Agent.objects.with_status().get()


def test_enrol_answers_who_it_is_and_where_the_link_is(secret: str, team: Team, settings: Any) -> None:
    answer = Machine().enrol(secret)
    assert (answer.status_code, said(answer)) == (
        201, {"agent": "pi4", "state": "enrolled", "link": settings.GATEWAY_URL},
    )  # fmt: skip
    assert row(team).ports[0]["serial"] == "A1"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": "0" * 32}, "signature"), ({"token": 5}, "token"), ({"key": "zz"}, "key"), ({"key": "ab"}, "key"),
        ({"signature": "ab" * 64}, "signature"), ({"signature": None}, "signature"),
        ({"registration": []}, "registration"), ({"registration": {}}, "interfaces"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_enrolment_is_named(changes: dict[str, Any], field: str, secret: str) -> None:
    answer = Machine().enrol(secret, **changes)
    assert answer.status_code == 400
    assert field in answer.content.decode()


def test_reports_are_stored_by_the_servers_clock(machine: Machine, team: Team, settings: Any) -> None:
    ports = (Port("a", "/dev/ttyUSB0"), Port("b", "/dev/ttyUSB1"))
    answer = machine.report(body=registration(hostname="renamed", ports=ports, uptime_s=3600).to_json())
    found = row(team)
    tunnel = {
        "server": settings.SSH_HOST, "ssh_port": settings.SSH_PORT, "port": found.tunnel_port,
        "host_key": tls.host_key(), "fingerprint": tls.host_fingerprint(),
    }  # fmt: skip
    assert (answer.status_code, said(answer)) == (200, OK | {"tunnel": tunnel})
    assert (found.hostname, [port["name"] for port in found.ports]) == ("renamed", ["a", "b"])
    assert found.registered is not None
    assert found.booted is not None
    assert 3590 < (found.registered - found.booted).total_seconds() < 3610
    assert found.status == "online"
    assert said(machine.report(HEARTBEAT_PATH, b"")) == OK


def test_a_captured_report_is_refused_the_second_time(machine: Machine) -> None:
    body = registration().to_json()
    first, second = machine.headers(REGISTER_PATH, body), machine.headers(REGISTER_PATH, body)
    assert [post(REGISTER_PATH, body, each).status_code for each in (second, second, first)] == [200, 409, 409]
    # Signed for one path, sent to another.
    assert post(HEARTBEAT_PATH, body, machine.headers(REGISTER_PATH, body)).status_code == 401


def test_a_boot_that_is_over_reports_no_more(machine: Machine, team: Team) -> None:
    assert machine.report().status_code == 200
    first = machine.boot
    machine.boot, machine.counter = uuid.uuid4(), 0
    assert machine.report().status_code == 200
    machine.boot, machine.counter = first, 50
    assert machine.report().status_code == 409
    with team_scope(team.pk):
        assert AgentBoot.objects.count() == 2


def test_an_unknown_key_and_a_bad_signature_look_alike(machine: Machine, team: Team) -> None:
    body = registration().to_json()
    forged = machine.headers(REGISTER_PATH, body) | {SIGNATURE_HEADER: "ab" * 64}
    answers = [
        Machine().report(), post(REGISTER_PATH, body, forged), post(REGISTER_PATH, body),
        post(REGISTER_PATH, body + b" ", machine.headers(REGISTER_PATH, body)),
        post(REGISTER_PATH, body, machine.headers(REGISTER_PATH, body) | {SIGNATURE_HEADER: "zz"}),
    ]  # fmt: skip
    with team_scope(team.pk):
        agent_revoke(agent=Agent.objects.get())
    answers.append(machine.report())
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"{", 400, "not JSON"), (b"[]", 400, "object"), 
        (registration(hostname="a\x1b[31m").to_json(), 400, "hostname"),
        (b"x" * (MAX_BODY + 1), 413, "bytes"), (b"x" * 10_000_000, 413, "bytes"),
        (registration(ports=tuple(Port(f"p{n}", "/dev/x") for n in range(600))).to_json(), 400, "ports"),
        (registration(uptime_s=-1).to_json(), 400, "uptime_s"), (b'{"interfaces": 3}', 400, "interfaces"),
    ],
)  # fmt: skip
def test_bad_registrations_are_refused_by_field_and_spend_nothing(
    body: bytes, status: int, named: str, machine: Machine, team: Team
) -> None:
    answer = machine.report(body=body)
    assert (answer.status_code, named in answer.content.decode()) == (status, True), answer.content
    with team_scope(team.pk):
        assert not AgentBoot.objects.exists()


def test_too_many_from_one_address_are_told_when_to_go_on(machine: Machine) -> None:
    cache.clear()
    with override_settings(AGENT_RATE=2):
        answers = [machine.report(HEARTBEAT_PATH, b"") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 0 < int(answers[2]["Retry-After"]) <= 60


def test_a_key_is_rotated_under_the_old_one(machine: Machine) -> None:
    new = Machine()
    proof = new.identity.sign(rotate_message(machine.identity.public, new.identity.public))
    body = json.dumps({"key": new.key, "signature": proof.hex()}).encode()
    assert machine.report(ROTATE_PATH, body).status_code == 200
    new.counter = machine.counter
    assert (machine.report().status_code, new.report().status_code) == (401, 200)


def test_neither_token_nor_signature_is_logged(machine: Machine, secret: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [Machine().enrol(secret), machine.report(body=b"{"), Machine().report()]
    told = caplog.text + "".join(answer.content.decode() for answer in answers)
    assert secret not in told
    assert not {each for each in machine.headers(REGISTER_PATH, b"").values() if len(each) > 60 and each in told}


def test_the_command_prints_a_join_token_that_works(
    team: Team, capsys: pytest.CaptureFixture[str], valkey: None
) -> None:
    call_command("enrolment_token", "red", "--uses", "2", "--ttl", "1", "--approval")
    join = JoinToken.parse(capsys.readouterr().out)
    assert len(join.pin) == 32
    assert said(Machine().enrol(join.secret))["state"] == "waiting"


def test_tokens_agents_and_what_is_done_to_them_by_rest(team: Team, alice: User, valkey: None) -> None:
    client = Client(headers={"Authorization": f"Token {token_create(team=team, role='owner', user=alice)}"})

    def send(path: str, **body: Any) -> Any:
        return client.post(f"/api/agents/{path}", data=body, content_type="application/json")

    made = send("enrolment-tokens/", name="Berlin", needs_approval=True).json()
    assert (made["uses_left"], made["created_by"]["username"]) == (1, "alice")
    assert "token" not in client.get(made["url"]).json()
    machine = Machine()
    machine.enrol(JoinToken.parse(made["token"]).secret)
    (agent,) = client.get("/api/agents/agents/?status=waiting").json()["results"]
    assert (agent["state"]["value"], agent["serial"], agent["ports"][0]["device"]) == (
        "waiting", "10000000abcdef", "/dev/ttyUSB0",
    )  # fmt: skip
    assert machine.report().status_code == 401
    assert send(f"agents/{agent['id']}/approve/").json()["status"] == "online"
    assert send(f"agents/{agent['id']}/approve/").status_code == 400
    assert machine.report().status_code == 200
    assert client.get(agent["url"]).json()["status"] == "online"
    changed = client.patch(agent["url"], {"maintenance": True, "holdtime_s": 600}, content_type="application/json")
    assert (changed.json()["maintenance"], changed.json()["holdtime_s"]) == (True, 600)
    assert client.patch(agent["url"], {"holdtime_s": 20}, content_type="application/json").status_code == 400
    assert client.patch(agent["url"], {"public_key": "00" * 32}, content_type="application/json").status_code == 400
    assert send(f"agents/{agent['id']}/revoke/").json()["status"] == "revoked"
    assert machine.report().status_code == 401
    assert client.delete(made["url"]).status_code == 204
    assert client.post(ENROL_PATH, data=b"x", content_type="text/plain").status_code == 400
