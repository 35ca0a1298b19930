"""The program itself at routers' command lines, as in the demo."""

from __future__ import annotations

import asyncio

import pytest
from django.test import Client

from lab.pi import router
from tenancy.models import Team
from tests.agents.conftest import program  # noqa: F401  (fixture)
from tests.agents.programs import Program
from tests.consoles.conftest import Device, browsing, held, opened

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_of_two_ports_answers(program: Program, team: Team, device: Device, alice_client: Client) -> None:  # noqa: F811
    links = [program.port.with_name(name) for name in ("R1", "R2")]

    async def scenario() -> None:
        consoles = [asyncio.create_task(router(link.name, link)) for link in links]
        with program.running(NETOPS_AGENT_PORTS_EXTRA=" ".join(map(str, links))):
            for device.link in links:
                port = await opened(team, device)
                async with browsing(alice_client, port) as alice:
                    await held(lambda: alice.last("hello"))
                    await held(lambda: alice.shown.endswith(b" login: "))
                    await alice.socket.send(b"admin\radmin\rshow name\r")
                    answer = f"show name\r\n{device.link.name}\r\n{device.link.name}> ".encode()
                    await held(lambda: alice.shown.endswith(answer))  # noqa: B023
        for console in consoles:
            console.cancel()

    asyncio.run(scenario())
