"""Consoles behind other console servers, from the page to the byte."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection
from django.test import Client

from agents.models import Agent
from consoles.models import ConsoleFar, ConsolePort
from core.scope import team_scope
from pi_agent import dial
from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import HANG, GatewayProcess
from tests.consoles.conftest import agent_with, browsing, held

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "hunter2-correct"


def form(agent: Agent, **values: object) -> dict[str, object]:
    return {"agent": agent.pk, "proto": "telnet", "host": "127.0.0.1", "number": 2001} | values


def only(team: Team) -> ConsolePort:
    with team_scope(team.pk):
        port: ConsolePort = ConsolePort.objects.select_related("agent").get()
        return port


def test_a_page_makes_one_and_its_agent_dials_it(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, alice_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(dial, "BACKOFF", (0.02, 0.2))

    def make(number: int) -> ConsolePort:
        try:
            answer = alice_client.post("/t/red/consoles/new/", form(agent, number=number), follow=True)
            assert "is dialled by probe1 from now on" in answer.content.decode()
            return only(team)
        finally:
            connection.close()

    async def scenario() -> None:
        heard = bytearray()

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"R1>")
            while data := await reader.read(1000):
                heard.extend(data)
            writer.close()

        server = await asyncio.start_server(met, "127.0.0.1", 0)
        number = server.sockets[0].getsockname()[1]
        async with agent_with(identity, dial=[f"127.0.0.1:{number}"]):
            port = await asyncio.to_thread(make, number)
            async with browsing(alice_client, port) as alice:
                await held(lambda: alice.shown.endswith(b"R1>"))
                await alice.socket.send(b"show\r")
                await held(lambda: b"show\r" in heard)
        async with agent_with(identity), browsing(alice_client, port) as alice:
            await held(lambda: "is not in consoles.dial" in str(alice.told))
        server.close()
        await asyncio.wait_for(server.wait_closed(), HANG)

    asyncio.run(scenario())


def test_who_may_and_what_is_refused(
    agent: Agent, team: Team, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    new = "/t/red/consoles/new/"
    wrong: list[tuple[dict[str, object], str]] = [
        ({"proto": "raw", "secret": SECRET}, "are for ssh only"),
        ({"proto": "ssh"}, "needs a user name"),
        ({"proto": "ssh", "user": "a", "host_key": "MD5:1"}, "SHA256"),
        ({"host": "a b"}, "host name or an address"),
        ({"number": 0}, "greater than or equal to 1"),
    ]
    for values, said in wrong:
        assert said in alice_client.post(new, form(agent, **values)).content.decode()
    ssh = form(agent, proto="ssh", user="admin", secret=SECRET, command="console fw-1")
    assert bob_client.post(new, ssh).status_code == 403
    assert charlie_client.post(new, ssh).status_code == 404
    assert alice_client.post(new, ssh).status_code == 302
    port = only(team)
    assert port.name == "ssh://admin@127.0.0.1:2001 console fw-1"
    assert "has a console there already" in alice_client.post(new, ssh).content.decode()
    far, gone = f"/t/red/consoles/{port.pk}/far/", f"/t/red/consoles/{port.pk}/remove/"
    assert SECRET not in alice_client.get(far).content.decode()
    assert alice_client.post(far, ssh | {"secret": "", "number": 22}).status_code == 302
    with team_scope(team.pk), connection.cursor() as cursor:
        assert ConsoleFar.objects.get().secret == SECRET, "empty keeps it"
        cursor.execute("SELECT secret FROM consoles_consolefar")
        assert SECRET not in cursor.fetchone()[0]
    assert (bob_client.post(gone).status_code, charlie_client.post(gone).status_code) == (403, 404)
    assert only(team).name.endswith(":22 console fw-1")
    assert alice_client.post(gone).status_code == 302
    with team_scope(team.pk):
        assert not ConsolePort.objects.exists()
        port = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0")
    answer = alice_client.post(f"/t/red/consoles/{port.pk}/remove/", follow=True).content.decode()
    assert "stays as long as its agent" in answer
    assert alice_client.get(f"/t/red/consoles/{port.pk}/far/").status_code == 302
