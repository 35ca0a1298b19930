"""The socket of an open page: for members, for as long as they are."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client

from core.live import publish
from netops.asgi import application
from tenancy import consumers
from tenancy.models import Seat, Team, User
from tenancy.services import member_remove, member_set
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


class OpenPage:
    """A browser's end of the socket, through everything that the `web` role puts around it."""

    def __init__(self, client: Client, slug: str) -> None:
        headers = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
        if cookie := client.cookies.get("sessionid"):
            headers.append((b"cookie", f"sessionid={cookie.value}".encode()))
        path = f"/ws/t/{slug}/events"
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
        make: Any = ApplicationCommunicator
        self.server = make(application, scope)

    async def hears(self) -> dict[str, str]:
        message = await self.server.receive_output(timeout=20)
        assert message["type"] == "websocket.send", message
        heard: dict[str, str] = json.loads(message["text"])
        return heard

    async def is_closed(self, code: int = 4404) -> None:
        while (message := await self.server.receive_output(timeout=20))["type"] == "websocket.send":
            pass
        assert (message["type"], message["code"]) == ("websocket.close", code)


def talk(client: Client, what: Callable[[OpenPage], Awaitable[None]], slug: str = "red") -> None:
    async def run() -> None:
        page = OpenPage(client, slug)
        await page.server.send_input({"type": "websocket.connect"})
        assert (await page.server.receive_output(timeout=20))["type"] == "websocket.accept"
        await what(page)
        await page.server.send_input({"type": "websocket.disconnect", "code": 1000})
        await page.server.wait(timeout=20)

    asyncio.run(run())


@pytest.mark.parametrize("slug", ["red", "none"])
def test_outsiders_and_the_anonymous_are_closed_alike(slug: str, team: Team, charlie: User) -> None:
    talk(signed_in(charlie), OpenPage.is_closed, slug)
    talk(Client(), OpenPage.is_closed, slug)


def test_a_member_hears_of_changes(team: Team, bob: User) -> None:
    async def hear(page: OpenPage) -> None:
        await sync_to_async(publish)(team.pk, "paths")
        assert await page.hears() == {"topic": "paths"}

    talk(signed_in(bob), hear)


def _database_is_away(*_: object) -> None:
    raise OperationalError("the database system is starting up")


def test_while_the_database_is_away_a_page_is_told_to_try_again(
    team: Team, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_rechecked(page: OpenPage) -> None:
        monkeypatch.setattr(Seat, "of_user", _database_is_away)
        await page.is_closed(1013)

    monkeypatch.setattr(consumers, "RECHECK_S", 0.5)
    talk(signed_in(bob), be_rechecked)
    talk(signed_in(bob), lambda page: page.is_closed(1013))


def test_a_removed_member_is_closed_at_once(team: Team, alice: User, bob: User) -> None:
    async def be_removed(page: OpenPage) -> None:
        await sync_to_async(member_remove)(team=team, user=bob)
        await page.is_closed()

    talk(signed_in(bob), be_removed)


def test_who_stays_stays_connected(team: Team, alice: User, bob: User) -> None:
    async def stay(page: OpenPage) -> None:
        await sync_to_async(member_set)(team=team, user=bob, role="operator")
        assert await page.hears() == {"topic": "members"}
        await sync_to_async(publish)(team.pk, "links")
        assert await page.hears() == {"topic": "links"}

    talk(signed_in(bob), stay)


def test_a_session_that_ended_is_out_without_a_nudge(team: Team, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.05)

    async def end(page: OpenPage) -> None:
        await sync_to_async(Session.objects.all().delete)()
        await page.is_closed()

    talk(signed_in(bob), end)
