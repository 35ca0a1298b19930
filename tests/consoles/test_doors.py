"""Who gets to a console, and who does not stay."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agents.models import Agent
from consoles import services
from consoles.models import ConsolePort, ConsoleTicket
from core.scope import team_scope
from tenancy.models import Team, User
from tenancy.services import member_remove, member_set
from tests.agents.conftest import HANG, GatewayProcess
from tests.consoles.conftest import browsing, headers, held, ticket_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port(team: Team, agent: Agent) -> ConsolePort:
    with team_scope(team.pk):
        made: ConsolePort = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0")
        return made


async def _answer(headers_: dict[str, str], url: str, first: Any) -> str:
    """What the gateway makes of it: "hello", its refusal's sentence, or the status it answers."""
    try:
        async with connect(url, additional_headers=headers_, compression=None, open_timeout=HANG) as socket:
            await socket.send(first if isinstance(first, (str, bytes)) else json.dumps(first))
            message = json.loads(await asyncio.wait_for(socket.recv(), HANG))
            if message["type"] == "refused":
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 4404
            return str(message.get("sentence", message["type"]))
    except InvalidStatus as error:
        return str(error.response.status_code)


def test_who_gets_to_a_console(
    gateway: GatewayProcess, port: ConsolePort, team: Team, alice_client: Client, bob_client: Client,
    charlie_client: Client,
) -> None:  # fmt: skip
    url = f"ws://127.0.0.1:{settings.CONSOLE_PORT}/console/red/{port.pk}"

    def tried(client: Client, first: Any, where: str = url, **more: str) -> str:
        return asyncio.run(_answer(headers(client) | more, where, first))

    def fresh() -> dict[str, str]:
        return {"ticket": ticket_of(alice_client, port)[0]}

    spent = fresh()
    assert tried(alice_client, spent) == "hello"
    refusals = [
        tried(alice_client, spent),
        tried(bob_client, fresh()),
        tried(charlie_client, fresh()),
        tried(Client(), fresh()),
        tried(alice_client, fresh(), url.replace("/red/", "/blue/")),
        tried(alice_client, fresh(), f"{url}0"),
        *(tried(alice_client, odd) for odd in ({}, {"ticket": 1}, {"ticket": "x" * 1000}, "[]", "x", b"x", "[" * 9999)),
    ]
    assert set(refusals) == {"This ticket is not valid, or no longer: open the console again."}
    late = fresh()
    with team_scope(team.pk):
        ConsoleTicket.objects.update(expires=timezone.now())
    assert tried(alice_client, late) in refusals
    assert tried(alice_client, fresh(), Origin="https://evil.example") == "403"
    assert tried(alice_client, fresh(), url.replace("console", "link")) == "403"
    assert charlie_client.post(f"/t/red/consoles/{port.pk}/ticket/").status_code == 404
    with team_scope(team.pk):
        digests = ConsoleTicket.objects.values_list("digest", flat=True)
        assert late["ticket"] not in digests
        assert all(len(digest) == 64 for digest in digests)


def test_two_come_with_one_ticket_one_gets_in(port: ConsolePort, team: Team, alice: User) -> None:
    with team_scope(team.pk):
        secret = services.ticket_issue(port=port, user=alice, writes=True)
        found = [services.ticket_spend(port_id=port.pk, user_id=alice.pk, secret=secret) for _ in range(2)]
    assert found == [(True, "alice"), None]


def test_who_loses_the_seat_is_out_at_once(
    gateway: GatewayProcess, port: ConsolePort, team: Team, alice: User, bob: User, bob_client: Client
) -> None:
    member_set(team=team, user=bob, role="operator")

    async def scenario() -> None:
        async with browsing(bob_client, port) as browser:
            await held(lambda: browser.last("hello").get("writes"))
            await asyncio.to_thread(member_set, team=team, user=bob, role="viewer")
            await held(lambda: browser.last("writes").get("writes") is False)
            await asyncio.to_thread(member_remove, team=team, user=bob)
            await held(lambda: browser.last("refused"))
            await browser.socket.wait_closed()
            assert browser.socket.close_code == 4404

    asyncio.run(scenario())
