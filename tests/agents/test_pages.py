"""The pages of agents: what they show, who may do what, and that hostile names are text."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.test import Client
from django.utils import timezone

from agents import tls
from agents.enrolment import agent_enrol, enrolment_token_create
from agents.models import Agent, EnrolmentToken
from agents.services import tunnel_port
from core.scope import team_scope
from pi_agent.enrolment import JoinToken, fingerprint
from pi_agent.registration import Port
from tenancy.models import Team
from tests.agents.machines import Machine, registration


def enrolled(team: Team, machine: Machine | None = None, *, approval: bool = False, **values: Any) -> Agent:
    with team_scope(team.pk):
        secret = enrolment_token_create(name="Sites", needs_approval=approval)[1]
    return agent_enrol(**(machine or Machine()).proof(secret), registration=registration(**values))


def get(client: Client, path: str = "") -> str:
    answer = client.get(f"/t/red/agents/{path}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_has_what_an_agent_tells(team: Team, bob_client: Client) -> None:
    agent = enrolled(team)
    html = get(bob_client)
    for told in ("pi4", "10000000abcdef", "192.0.2.7", "eth0", "core switch", "ttyUSB0", "Online", "4 min"):
        assert told in html, told
    detail = get(bob_client, f"{agent.pk}/")
    for told in ("Raspberry Pi 4", "Debian 12", "b8:27:eb:00:00:01", "no address", "0403:6001", agent.fingerprint):
        assert told in detail, told
    assert "Revoke" not in detail, "bob only looks"


def test_the_wizard_shows_one_line_that_works_and_shows_it_once(team: Team, alice_client: Client) -> None:
    form = {"name": "Berlin", "uses_left": "2", "hours": "1", "needs_approval": ""}
    html = alice_client.post("/t/red/agents/enrol/", form).content.decode()
    line = re.search(r"netops-agent enrol (https://\S+) (\S+)</code>", html)
    assert line
    join = JoinToken.parse(line[2])
    assert html.count(join.secret) == 2, "and in the snippet for cloud-init"
    snippet: Any = yaml.safe_load(unescape(html.partition('id="cloud-init">')[2].partition("</pre>")[0]))
    assert snippet["write_files"][0]["content"] == str(join)
    assert f"netops-agent enrol {line[1]} - < /root/join-token && shred -u /root/join-token" in snippet["runcmd"]
    agent_enrol(**Machine().proof(join.secret), registration=registration())
    assert join.secret not in get(alice_client, "enrol/")
    with team_scope(team.pk):
        token = EnrolmentToken.objects.get()
    assert token.uses_left == 1
    alice_client.post(f"/t/red/agents/tokens/{token.pk}/revoke/")
    assert "Berlin" not in get(alice_client, "enrol/")
    assert "field-error" in alice_client.post("/t/red/agents/enrol/", form | {"uses_left": "0"}).content.decode()


def test_the_queue_shows_the_fingerprint_and_approves(team: Team, alice_client: Client, bob_client: Client) -> None:
    machine = Machine()
    agent = enrolled(team, machine, approval=True)
    html = get(alice_client)
    assert fingerprint(machine.identity.public) in html
    assert bob_client.post(f"/t/red/agents/{agent.pk}/approve/").status_code == 403
    assert "Waiting for approval" in get(bob_client)
    alice_client.post(f"/t/red/agents/{agent.pk}/approve/")
    assert "Waiting for approval" not in get(alice_client)
    with team_scope(team.pk):
        assert Agent.objects.get().state == "enrolled"


def test_maintenance_and_revoking(team: Team, alice_client: Client) -> None:
    agent = enrolled(team)
    alice_client.post(f"/t/red/agents/{agent.pk}/maintenance/", {"on": "1"})
    assert "End maintenance" in get(alice_client, f"{agent.pk}/")
    alice_client.post(f"/t/red/agents/{agent.pk}/maintenance/")
    assert "Start maintenance" in get(alice_client, f"{agent.pk}/")
    alice_client.post(f"/t/red/agents/{agent.pk}/revoke/")
    html = get(alice_client, f"{agent.pk}/")
    assert "Revoked" in html
    assert "Start maintenance" not in html
    assert f"/agents/{agent.pk}/" not in get(alice_client)
    assert f"/agents/{agent.pk}/" in get(alice_client, "?status=revoked")


def test_the_page_says_where_the_ssh_tunnel_is_and_by_which_key_to_know_it(team: Team, bob_client: Client) -> None:
    agent = enrolled(team)
    assert "SSH tunnel" not in get(bob_client, f"{agent.pk}/")
    with team_scope(team.pk):
        port = tunnel_port(agent_id=agent.pk)
    html = get(bob_client, f"{agent.pk}/")
    blob = base64.b64decode(tls.host_key().split()[1])
    known_as = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    for told in (
        f"ssh -J {settings.SSH_HOST} -p {port} pi@localhost</code>", known_as,
        f"{settings.SSH_HOST} port {settings.SSH_PORT}",
    ):  # fmt: skip
        assert told in html, told


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "<img src=x onerror=alert(2)>"])
def test_hostile_names_are_text(name: str, team: Team, alice_client: Client) -> None:
    agent = enrolled(team, hostname=name, serial=name, model=name, ports=(Port(name, name, name, name, name, name),))
    with team_scope(team.pk):
        Agent.objects.update(first_seen=timezone.now())
    for path in ("", f"{agent.pk}/"):
        html = get(alice_client, path)
        assert "&lt;" in html
        assert name not in html
