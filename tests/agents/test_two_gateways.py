"""Two real gateway processes share agents: one dies or hangs, they are with the other, its late writes are refused."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection
from websockets.asyncio.client import connect

from agents import tls
from agents.models import Agent
from agents.services import agent_create
from core.scope import team_scope
from netops import home
from pi_agent import link as agents_end
from pi_agent.frames import PROBING, Error, Frame, Type, ack
from pi_agent.identity import Identity
from pi_agent.link import FAILOVER_S, PING_S, PONG_S, Link
from pi_agent.outbox import Outbox
from pi_agent.pinning import pinned_context
from probing.models import ReportBatch
from tenancy.models import Team
from tests.agents.conftest import BACKOFF, GatewayProcess, until, welcomed
from tests.embedded import free_port_base, temporary_folder


@pytest.fixture
def other(gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    """As on another machine (docs/operations.md): the same database, Valkey, secrets and keys. Not started."""
    data, port = temporary_folder(), free_port_base()
    for file in (tls.key_file(), tls.ssh_key_file()):
        shutil.copy(file, data)
    secrets = {f"NETOPS_{name.upper()}": home.secret(name) for name in ("secret_key", "token_pepper", "secrets_key")}
    each = GatewayProcess(
        NETOPS_DATA=str(data),
        NETOPS_PORT=str(port),
        NETOPS_DATABASE_URL=home.database_url("app"),
        NETOPS_REDIS_URL=home.redis_url(),
        NETOPS_GATEWAY_URL=f"wss://127.0.0.1:{port + home.PORTS['gateway']}/link {settings.GATEWAY_URL}",
        **secrets,
    )
    yield each
    if each.running():
        each.stop()
    shutil.rmtree(data)
    assert not [line for line in each.lines if "Traceback" in line], each.lines


@pytest.fixture
def urls(other: GatewayProcess) -> tuple[str, str]:
    """Of the first and of the other."""
    return settings.GATEWAY_URL, other.environment["NETOPS_GATEWAY_URL"].split()[0]


@asynccontextmanager
async def crowd(team: Team, urls: tuple[str, str], count: int) -> AsyncIterator[list[Link]]:
    """The links of so many new agents, each of which knows both gateways."""
    identities = [Identity(Ed25519PrivateKey.generate()) for _ in range(count)]

    def enrol() -> None:
        with team_scope(team.pk):
            for number, identity in enumerate(identities):
                agent_create(name=f"pi{number}", public_key=identity.public.hex())

    await asyncio.to_thread(enrol)
    links = [Link(" ".join(urls), each, print, Outbox(1 << 20), BACKOFF, tls.pin()) for each in identities]
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        yield links
        assert not [task for task in tasks if task.done()], "a link gave up"
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def rows(team: Team) -> list[Agent]:
    with team_scope(team.pk):
        return list(Agent.objects.order_by("name"))


def owners(team: Team) -> set[tuple[str, str]]:
    return {(agent.gateway, agent.status_now) for agent in rows(team)}


def epochs(team: Team) -> dict[int, int]:
    try:
        return {agent.pk: agent.epoch for agent in rows(team)}
    finally:
        connection.close()


def stored(team: Team) -> dict[str, list[bytes]]:
    """By agent, in the order of arrival."""
    with team_scope(team.pk):
        batches = list(ReportBatch.objects.order_by("pk").select_related("agent"))
    found: dict[str, list[bytes]] = {}
    for batch in batches:
        found.setdefault(batch.agent.name, []).append(bytes(batch.payload))
    return found


def test_the_agents_of_a_killed_gateway_are_with_the_other(
    gateway: GatewayProcess, other: GatewayProcess, urls: tuple[str, str], team: Team
) -> None:
    first, second = urls

    async def scenario() -> None:
        async with crowd(team, urls, 5) as links:

            def deliver(report: bytes) -> None:
                for link in links:
                    link.deliver(report)

            deliver(b"1")
            await until(lambda: owners(team) == {(first, "online")})
            await asyncio.to_thread(other.start)
            await asyncio.to_thread(gateway.kill)
            deliver(b"2")
            await until(lambda: owners(team) == {(second, "online")})
            before = await asyncio.to_thread(epochs, team)
            await asyncio.to_thread(gateway.start)
            deliver(b"3")
            await until(lambda: list(stored(team).values()) == [[b"1", b"2", b"3"]] * 5)
            assert await asyncio.to_thread(epochs, team) == before, "they stay where they are"
            await asyncio.to_thread(other.kill)
            deliver(b"4")
            await until(lambda: owners(team) == {(first, "online")})
            await until(lambda: all(link.outbox.first == 4 for link in links))
            after = await asyncio.to_thread(epochs, team)
            assert all(after[pk] > epoch for pk, epoch in before.items())

    asyncio.run(scenario())
    assert list(stored(team).values()) == [[b"1", b"2", b"3", b"4"]] * 5


def test_the_agents_of_a_gateway_that_hangs_are_with_the_other(
    gateway: GatewayProcess, other: GatewayProcess, urls: tuple[str, str], team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine is gone without a word, or it stands still: only pings tell."""
    assert PING_S + PONG_S < FAILOVER_S
    monkeypatch.setattr(agents_end, "PING_S", 1.0)
    monkeypatch.setattr(agents_end, "PONG_S", 4.0)
    assert gateway.process
    process = gateway.process
    first, second = urls

    async def scenario() -> None:
        async with crowd(team, urls, 3) as links:
            await until(lambda: owners(team) == {(first, "online")})
            await asyncio.to_thread(other.start)
            process.send_signal(signal.SIGSTOP)
            try:
                for link in links:
                    link.deliver(b"1")
                await until(lambda: owners(team) == {(second, "online")})
                await until(lambda: all(link.outbox.first == 1 for link in links))
            finally:
                process.send_signal(signal.SIGCONT)

    asyncio.run(scenario())
    assert list(stored(team).values()) == [[b"1"]] * 3


def test_what_a_gateway_writes_late_is_refused(
    gateway: GatewayProcess, other: GatewayProcess, urls: tuple[str, str], agent: Agent, team: Team, identity: Identity
) -> None:
    """It stood still with a report before it; the agent is with the other one when it goes on."""
    first, second = (connect(url, ssl=pinned_context(), compression=None, ping_interval=None) for url in urls)
    assert gateway.process
    process = gateway.process

    async def scenario() -> None:
        async with first as old:
            await welcomed(old, identity)
            await asyncio.to_thread(other.start)
            process.send_signal(signal.SIGSTOP)
            try:
                await old.send(Frame(Type.DATA, PROBING, 0, b"late").encode())
                async with second as new:
                    await welcomed(new, identity)
                    await new.send(Frame(Type.DATA, PROBING, 0, b"in time").encode())
                    assert Frame.decode(await new.recv()) == ack(PROBING, 1)
                    process.send_signal(signal.SIGCONT)
                    assert Error.parse(Frame.decode(await old.recv())).code == "replaced"
            finally:
                process.send_signal(signal.SIGCONT)

    asyncio.run(scenario())
    assert stored(team) == {agent.name: [b"in time"]}
    assert [(each.gateway, each.epoch) for each in rows(team)] == [(urls[1], 2)]
