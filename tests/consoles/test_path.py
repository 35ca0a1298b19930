"""The path of a byte: terminal, agent, gateway, log, browser, and back; with real parts."""

from __future__ import annotations

import asyncio

import pytest
from django.test import Client

from consoles.models import ConsolePort
from consoles.services import port_update
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import GatewayProcess
from tests.consoles.conftest import Device, agent_with, browsing, held, opened

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_look_on_one_types(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            await device.say(b"before anyone came\r\n")
            async with browsing(alice_client, port) as alice, browsing(bob_client, port) as bob:
                await held(lambda: alice.shown == bob.shown == b"before anyone came\r\n")
                assert (alice.last("hello")["writes"], bob.last("hello")["writes"]) == (True, False)
                await alice.socket.send(b"show version\r")
                await held(lambda: device.listen() == b"show version\r")
                await device.say(b"IOS \xff\x1b[31m")
                await held(lambda: alice.shown.endswith(b"IOS \xff\x1b[31m") and alice.shown == bob.shown)
                await bob.socket.send(b"reload\r")
                await held(lambda: "look on" in bob.last("refused").get("sentence", ""))
                await alice.socket.send(b"!")
                await held(lambda: device.listen().endswith(b"!"))
                assert device.heard == b"show version\r!"
            async with browsing(alice_client, port, start=7) as again:
                await held(lambda: again.shown == b"anyone came\r\nIOS \xff\x1b[31m")

    asyncio.run(scenario())


def test_a_device_with_flow_control_waits_while_the_server_is_away(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client
) -> None:
    told = b"".join(b"%09d\n" % number for number in range(40_000))

    def flow(port: ConsolePort) -> None:
        with team_scope(team.pk):
            port_update(port=port, flow="rtscts")

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
        await asyncio.to_thread(flow, port)
        async with agent_with(identity, device, limit=64 << 10):
            async with browsing(alice_client, port) as alice:
                await device.say(b"begin\n")
                await held(lambda: alice.shown == b"begin\n")
            await asyncio.to_thread(gateway.kill)
            saying = asyncio.create_task(device.say(told))
            await asyncio.to_thread(gateway.start)
            await saying
            async with browsing(alice_client, port, start=6) as again:
                await held(lambda: len(again.shown) == len(told))
                assert again.shown == told
                assert again.gaps == []

    asyncio.run(scenario())
