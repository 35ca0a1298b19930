"""Removing an agent: what is cut, what is forgotten, what stays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncssh
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from websockets.exceptions import ConnectionClosed

from agents.enrolment import agent_delete, enrolment_token_create
from agents.models import Agent, AgentBoot, free_tunnel_port
from agents.services import tunnel_port
from agents.watch import SOURCE
from core.scope import team_scope
from inventory.models import Endpoint
from pi_agent.frames import Error, Frame
from pi_agent.identity import Identity
from probing.models import Campaign
from probing.services import campaign_create
from tenancy.models import Team, User
from tenancy.services import token_create
from tenancy.trail import Wanted, entries
from tests.agents.conftest import HANG, GatewayProcess, answer, raw, welcomed
from tests.agents.machines import Machine
from tests.agents.test_legacy import send
from tests.agents.test_pages import enrolled, get
from tests.agents.test_tunnel import connected, port_of
from ticketing.models import Incident
from ticketing.services import incident_report


def api(team: Team, user: User, role: str = "owner") -> Client:
    return Client(headers={"Authorization": f"Token {token_create(team=team, role=role, user=user)}"})


def test_it_is_forgotten_its_port_is_free_and_the_trail_tells(team: Team, valkey: None) -> None:
    machine = Machine()
    agent = enrolled(team, machine)
    assert machine.report().status_code == 200
    with team_scope(team.pk):
        port = tunnel_port(agent_id=agent.pk)
        for element in (f"agent:{agent.pk}", f"agent:{agent.pk}:key"):
            incident_report(
                kind="agent", element=element, source=SOURCE, title="It is dead", evidence={}, reason="silent"
            )
        agent_delete(agent=agent)
        assert not Agent.objects.exists()
        assert not AgentBoot.objects.exists()
        assert free_tunnel_port() == port
        assert {incident.state for incident in Incident.objects.all()} == {"resolved"}
        (gone,) = [
            each for each in entries(Wanted(), limit=50) if each.action == "delete" and each.model == "agents.agent"
        ]
        assert (gone.object, gone.title) == (agent.pk, "pi4")
    assert machine.report().status_code == 401


def test_what_a_campaign_probes_from_stays(team: Team, alice: User, alice_client: Client, valkey: None) -> None:
    agent = enrolled(team)
    with team_scope(team.pk):
        target = Endpoint.objects.create(name="dev2", address="20.0.0.6")
        campaign = campaign_create(name="Backbone", agent=agent, targets=[target])
        with pytest.raises(ValidationError, match="The campaign Backbone probes from it"):
            agent_delete(agent=agent)
    for html in (get(alice_client, f"{agent.pk}/remove/"), get(alice_client, f"{agent.pk}/remove/")):
        assert "The campaign Backbone probes from it: give it another agent, or delete it first." in html
        assert "Remove for good" not in html
    refusal = api(team, alice).delete(f"/api/agents/agents/{agent.pk}/")
    assert (refusal.status_code, "Backbone" in refusal.content.decode()) == (400, True)
    with team_scope(team.pk):
        assert Campaign.objects.get() == campaign
        assert Agent.objects.get() == agent


def test_the_page_asks_first(team: Team, alice_client: Client, bob_client: Client) -> None:
    agent = enrolled(team)
    assert "/remove/" not in get(bob_client, f"{agent.pk}/")
    assert bob_client.post(f"/t/red/agents/{agent.pk}/remove/").status_code == 403
    assert f"/agents/{agent.pk}/remove/" in get(alice_client, f"{agent.pk}/")
    html = get(alice_client, f"{agent.pk}/remove/")
    assert "Remove pi4?" in html
    assert "SSH tunnel are cut" in html
    with team_scope(team.pk):
        assert Agent.objects.exists(), "a look removes nothing"
    answered = alice_client.post(f"/t/red/agents/{agent.pk}/remove/", follow=True)
    assert "pi4 is removed." in answered.content.decode()
    with team_scope(team.pk):
        assert not Agent.objects.exists()


def test_by_rest_it_takes_an_admin(team: Team, alice: User) -> None:
    url = f"/api/agents/agents/{enrolled(team).pk}/"
    assert api(team, alice, "operator").delete(url).status_code == 403
    assert api(team, alice, "admin").delete(url).status_code == 204
    assert api(team, alice, "admin").delete(url).status_code == 404


def test_link_and_tunnel_are_cut_and_its_key_is_a_strangers(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    port_of(team, agent)

    def remove() -> None:
        with team_scope(team.pk):
            agent_delete(agent=agent)

    async def scenario() -> None:
        async with raw() as link, await connected(identity) as tunnel:
            await welcomed(link, identity)
            await asyncio.to_thread(remove)
            async with asyncio.timeout(HANG):
                await tunnel.wait_closed()
                with suppress(ConnectionClosed):
                    while True:
                        await link.recv()
        async with raw() as link:
            await answer(link, identity)
            assert Error.parse(Frame.decode(await link.recv())).code == "auth"
        with pytest.raises(asyncssh.PermissionDenied):
            await connected(identity)

    asyncio.run(scenario())


def test_a_removed_key_may_enrol_anew_and_is_another_agent(team: Team, valkey: None) -> None:
    machine = Machine()
    before = enrolled(team, machine)
    with team_scope(team.pk):
        agent_delete(agent=before)
        secret = enrolment_token_create(name="Again")[1]
    assert machine.enrol(secret).status_code == 201
    with team_scope(team.pk):
        assert Agent.objects.get().pk != before.pk


def test_tokens_of_picon_agents_by_rest(team: Team, alice: User, valkey: None) -> None:
    client, path = api(team, alice), "/api/agents/picon-tokens/"

    def make(**body: Any) -> Any:
        return client.post(path, data=body, content_type="application/json")

    made = make(name="Old ones", networks=["127.0.0.0/8"]).json()
    secret = made["endpoint"].partition("/picon/")[2].removesuffix("/api/")
    assert (made["networks"], made["created_by"]["username"]) == (["127.0.0.0/8"], "alice")
    assert secret not in client.get(path).content.decode()
    assert send(secret).status_code == 200
    assert client.get(made["url"]).json()["last_used"]
    assert "is no network" in make(name="x", networks=["nowhere"]).content.decode()
    assert api(team, alice, "operator").get(path).status_code == 403
    assert client.delete(made["url"]).status_code == 204
    assert send(secret).status_code == 404
