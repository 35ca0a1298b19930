"""PostgreSQL and Valkey are stopped under an open console: who is there goes on, and what comes is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from agents.models import Agent
from consoles import sessions
from consoles.hub import Hub
from consoles.models import ConsoleLock, ConsolePort
from consoles.sessions import Ended, Session
from core.scope import team_scope
from netops import home
from netops.embedded import Postgres
from pi_agent.identity import Identity
from tenancy.models import Seat, Team, User
from tenancy.services import member_set
from tests import embedded
from tests.agents.conftest import HANG, GatewayProcess, until
from tests.consoles.conftest import Device, agent_with, browsing, held, opened
from tests.consoles.openssh import OpenSsh
from tests.consoles.test_ssh_console import seated

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def nothing_but_the_gateway() -> AsyncIterator[None]:
    for service in embedded.services.values():
        service.stop()
    try:
        yield
    finally:
        for service in embedded.services.values():
            service.start()
        Postgres(home.data(), home.port("postgres")).wait_ready()
        wrapper: Any = connection
        await asyncio.to_thread(wrapper.close_pool)


def test_people_type_on_and_every_byte_is_kept(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, bob: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    member_set(team=team, user=bob, role="operator")
    report = b"what an agent reports waits for the database"

    async def scenario() -> None:
        async with agent_with(identity, device) as link:
            port = await opened(team, device)
            async with browsing(alice_client, port) as alice, browsing(bob_client, port) as bob:
                await held(lambda: len(bob.does()) == 2)
                await alice.ask("request")
                await held(lambda: bob.does() == {"alice": "alone", "bob": "looking"})
                async with nothing_but_the_gateway():
                    link.deliver(report)
                    await alice.socket.send(b"show log\r")
                    await held(lambda: device.listen() == b"show log\r")
                    await device.say(b"kept\r\n")
                    await held(lambda: alice.shown == bob.shown == b"kept\r\n")
                    await bob.socket.send(b"reload\r")
                    await held(lambda: bob.said("alice has this console"))
                    await bob.ask("request")
                    await held(lambda: alice.said("bob asks"))
                    await alice.ask("grant")
                    await held(lambda: alice.said("The database is away"))
                    await alice.socket.send(b"!")
                    await held(lambda: device.listen() == b"show log\r!")
                assert link.outbox.first == 0, "nothing is acknowledged that is not stored"
                await held(lambda: link.outbox.first == 1)
                await alice.ask("grant")
                await held(lambda: bob.does() == {"alice": "looking", "bob": "alone"})
                await bob.socket.send(b"?")
                await held(lambda: device.listen() == b"show log\r!?")
                await device.say(b"more")
                await held(lambda: alice.shown == bob.shown == b"kept\r\nmore")
                assert not alice.gaps
                assert not bob.gaps
                await until(lambda: held_by(team) == ["bob"])

    asyncio.run(scenario())
    connection.close()


def test_a_key_opens_the_ssh_door_as_it_was_seen_last(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, alice: User, tmp_path: Path
) -> None:
    ssh = OpenSsh(tmp_path / "alice", alice)
    assert ssh.run("alice").returncode == 0

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            login = f"alice:red/{port.pk}"
            async with seated(ssh, login) as before, nothing_but_the_gateway():
                await before.types("a")
                await held(lambda: device.listen() == b"a")
                async with seated(ssh, login) as alice:
                    await alice.types("b")
                    await held(lambda: device.listen() == b"ab")
                    await device.say(b"both see this")
                    await alice.sees("both see this")
                    await before.sees("both see this")
                nobody = await asyncio.to_thread(ssh.run, "bob")
                assert nobody.returncode == 255

    asyncio.run(scenario())
    connection.close()


def held_by(team: Team) -> list[str]:
    connection.close()  # this thread's may be one of the server that was stopped
    with team_scope(team.pk):
        return list(ConsoleLock.objects.values_list("who", flat=True))


def test_who_may_be_here_is_believed_for_a_while(
    agent: Agent, team: Team, alice: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    monkeypatch.setattr(sessions, "RECHECK_S", 0.01)
    monkeypatch.setattr(settings, "CONSOLE_STORE", tmp_path)
    with team_scope(team.pk):
        port = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0")
    asked = []

    async def away() -> Seat | None:
        asked.append(1)
        raise OperationalError("the server closed the connection")

    async def scenario() -> None:
        seat = (await asyncio.to_thread(Seat.of_user, alice.pk))[0]
        async with Session(Hub(), seat, port.pk, away, name="alice", via="browser") as session, asyncio.timeout(HANG):
            await held(lambda: len(asked) > 3)
            assert session.writes
            monkeypatch.setattr(sessions, "TRUST_S", 0)
            with pytest.raises(Ended, match="could not be checked"):
                await session.over()
            assert not session.writes

    asyncio.run(scenario())
