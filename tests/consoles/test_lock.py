"""Who has a console for themselves alone: asked for, given, refused, taken, lost; with a real gateway and agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.test import Client

from agents.models import Agent
from consoles import lock_services as services
from consoles.models import ConsoleLock, ConsolePort, ConsoleVisit
from consoles.selectors import Held, locks_of
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import Team, User
from tenancy.services import member_remove, member_set
from tenancy.trail import Wanted, entries
from tests.agents.conftest import GatewayProcess, until
from tests.consoles.conftest import Browser, Device, agent_with, browsing, held, opened

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port(team: Team, agent: Agent) -> ConsolePort:
    with team_scope(team.pk):
        made: ConsolePort = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0")
        return made


@pytest.fixture
def bob(team: Team, bob: User) -> User:
    member_set(team=team, user=bob, role="operator")
    return bob


@asynccontextmanager
async def two(
    identity: Identity, team: Team, device: Device, alice: Client, bob: Client
) -> AsyncIterator[tuple[Browser, Browser]]:
    async with agent_with(identity, device):
        port = await opened(team, device)
        async with browsing(alice, port) as first, browsing(bob, port) as second:
            await held(lambda: len(first.does()) == len(second.does()) == 2)
            yield first, second


def test_two_share_then_one_has_it_alone(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, bob: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with two(identity, team, device, alice_client, bob_client) as (alice, bob):
            assert (alice.last("hello")["takes"], bob.last("hello")["takes"]) == (True, False)
            await bob.socket.send(b"b")
            await held(lambda: device.listen() == b"b")
            await held(lambda: alice.does()["bob"] == "typing")
            await alice.ask("request")
            await held(lambda: alice.said("bob is typing"))
            await alice.socket.send(b"a")
            await held(lambda: device.listen() == b"ba")
            await held(lambda: alice.does() == {"alice": "ready", "bob": "ready"})
            await bob.ask("request")
            await held(lambda: alice.does() == {"alice": "looking", "bob": "alone"})
            await alice.socket.send(b"reload\r")
            await held(lambda: alice.said("bob has this console", "nothing was sent"))
            await alice.ask("request")
            await held(lambda: alice.said("bob", "was asked"))
            await held(lambda: bob.said("alice asks"))
            await bob.ask("refuse")
            await held(lambda: alice.said("bob keeps"))
            for odd in ("grant", "take", "burn"):
                await bob.ask(odd)
            await held(lambda: bob.said("Nobody asks"))
            await held(lambda: bob.said("Only admins"))
            await held(lambda: bob.said("Nobody can burn"))
            await alice.ask("request")
            await held(lambda: bob.said("alice asks"))
            await bob.ask("grant")
            await held(lambda: alice.said("bob gave you"))
            await bob.socket.send(b"x")
            await held(lambda: bob.said("alice has this console"))
            await alice.socket.send(b"A")
            await held(lambda: device.listen() == b"baA")
            await alice.ask("release")
            await held(lambda: alice.last("people")["lock"] is None)
            await bob.ask("release")
            await held(lambda: bob.said("You do not have"))
            await bob.socket.send(b"B")
            await held(lambda: device.listen() == b"baAB")

    asyncio.run(scenario())


def test_one_takes_it_and_the_trail_says_so(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, bob: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with two(identity, team, device, alice_client, bob_client) as (alice, bob):
            await bob.ask("request")
            await held(lambda: alice.does()["bob"] == "alone")
            await alice.ask("take")
            await held(lambda: bob.said("alice took this console over"))
            await held(lambda: alice.said("You took", "from bob"))
            await bob.socket.send(b"no")
            await held(lambda: bob.said("alice has this console"))
            await alice.socket.send(b"yes")
            await held(lambda: device.listen() == b"yes")
        await until(lambda: not locks(team)[0].session)

    asyncio.run(scenario())
    with team_scope(team.pk):
        trail = list(entries(Wanted(model="consoles.consolelock"), limit=9))
        visits = list(ConsoleVisit.objects.order_by("who"))
    assert [(each.who, each.changes[-1].after) for each in trail] == [("alice", ""), ("alice", "alice"), ("bob", "bob")]
    assert [(each.who, each.via, bool(each.ended), bool(each.typed_last)) for each in visits] == [
        ("alice", "browser", True, True), ("bob", "browser", True, False),
    ]  # fmt: skip


def locks(team: Team) -> list[ConsoleLock]:
    with team_scope(team.pk):
        return list(ConsoleLock.objects.all())


@pytest.mark.parametrize("loss", ["closed", "demoted", "removed"])
def test_it_goes_to_who_asks_when_the_holder_goes(
    loss: str, gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, bob: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with two(identity, team, device, alice_client, bob_client) as (alice, second):
            await second.ask("request")
            await held(lambda: alice.does()["bob"] == "alone")
            await alice.ask("request")
            await held(lambda: second.said("alice asks"))
            if loss == "closed":
                await second.socket.close()
            elif loss == "demoted":
                await asyncio.to_thread(member_set, team=team, user=bob, role="viewer")
            else:
                await asyncio.to_thread(member_remove, team=team, user=bob)
            await held(lambda: alice.does().get("alice") == "alone")
            if loss == "demoted":
                await second.socket.send(b"no")
                await held(lambda: second.said("look on here"))
            await alice.socket.send(b"yes")
            await held(lambda: device.listen() == b"yes")

    asyncio.run(scenario())


def test_who_had_it_has_it_after_the_gateway_was_killed(
    gateway: GatewayProcess, identity: Identity, agent: Agent, team: Team, device: Device, bob: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            async with browsing(bob_client, port) as browser:
                await held(lambda: browser.last("hello"))
                await browser.ask("request")
                await held(lambda: browser.does() == {"bob": "alone"})
                await asyncio.to_thread(gateway.kill)
            await asyncio.to_thread(gateway.start)
            key = browser.last("hello")["key"]
            async with browsing(alice_client, port, key=key) as alice:  # a key is nobody else's
                await held(lambda: alice.does())
                async with browsing(bob_client, port, key=key) as back:
                    await held(lambda: back.does() == {"alice": "looking", "bob": "alone"})
                    async with browsing(bob_client, port, key=key) as again:
                        await held(lambda: again.does() == {"alice": "looking", "bob": "alone"})
                        await back.socket.wait_closed()
                        assert back.said("another connection")
                        await held(lambda: typed(device, b"!", again))

    def typed(device: Device, keys: bytes, browser: Browser) -> bool:
        """The agent may still be on its way."""
        if not device.listen():
            asyncio.ensure_future(browser.socket.send(keys))  # noqa: RUF006
        return device.listen().startswith(keys)

    asyncio.run(scenario())


def test_each_change_is_one_statement_and_the_fence_only_grows(port: ConsolePort, team: Team, bob: User) -> None:
    first: dict[str, Any] = {"port_id": port.pk, "session": "1" * 32, "user_id": bob.pk, "who": "bob"}
    second = first | {"session": "2" * 32}
    renewing = {name: first[name] for name in ("port_id", "session", "user_id")}
    with team_scope(team.pk):
        assert services.lock_claim(**first) == 1
        assert services.lock_claim(**second) is None
        assert services.lock_renew(**renewing) == 1
        assert services.lock_renew(**renewing | {"user_id": None}) is None
        assert services.lock_take(**second, of="3" * 32) is None
        assert services.lock_take(**second, of=first["session"]) == 2
        assert services.lock_renew(**renewing) is None
        assert services.lock_release(port_id=port.pk, session=first["session"]) is None
        assert 0 < locks_of(port_ids=[port.pk])[port.pk].left <= services.LEASE_S
        ConsoleLock.objects.update(until="2020-01-01T00:00Z")
        assert locks_of(port_ids=[port.pk]) == {port.pk: Held(2)}
        assert services.lock_renew(**renewing | {"session": second["session"]}) == 2, "nobody else has it"
        ConsoleLock.objects.update(until="2020-01-01T00:00Z")
        assert services.lock_claim(**first) == 3
        assert services.lock_release(port_id=port.pk, session=first["session"]) == 3
        assert services.lock_claim(**second) == 4
