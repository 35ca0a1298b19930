"""The speed of a port is found by trying."""

from __future__ import annotations

import asyncio
import termios
from contextlib import suppress

import pytest
from django.test import Client

from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import GatewayProcess, until
from tests.consoles.conftest import Device, agent_with, answering, held, opened

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_speed_is_found_and_offered_and_nothing_else_changes(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device,
    alice_client: Client, charlie_client: Client,
) -> None:  # fmt: skip
    """A stand-in for a device at 115200 baud: on a pseudo-terminal a speed cannot be wrong, so it garbles what it says
    unless that is the speed that the agent set."""

    def speed() -> int:
        return int(termios.tcgetattr(device.fd)[4])

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            prompt, garbage = b"\r\nR1> ", bytes(range(0x80, 0xA0))
            answers = lambda: prompt if speed() == termios.B115200 else garbage  # noqa: E731
            task = asyncio.create_task(answering(device, answers))
            path, setup = f"/t/red/consoles/{port.pk}/detect/", f"/t/red/consoles/{port.pk}/setup/"
            assert (await asyncio.to_thread(charlie_client.post, path)).status_code == 404
            assert (await asyncio.to_thread(alice_client.post, path)).status_code == 200

            def found() -> bool:
                """Asks again where this machine was too slow to answer."""
                page = alice_client.get(path).content
                if b"No text came back" in page:
                    alice_client.post(path)
                return b"Use 115200 baud" in page

            await until(found)
            await held(lambda: speed() == termios.B9600)
            page = (await asyncio.to_thread(alice_client.get, f"{setup}?baud=115200")).content.decode()
            assert '<option value="115200" selected>' in page
            page = (await asyncio.to_thread(alice_client.get, f"{setup}?baud=1")).content.decode()
            assert '<option value="9600" selected>' in page
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
