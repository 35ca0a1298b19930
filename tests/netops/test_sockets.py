"""Every socket, tried by everyone: those of open pages and the gateway's link."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.asgi import get_asgi_application

from agents.gateway import Gateway
from netops.asgi import application, sockets
from tenancy.models import User
from tenancy.services import member_set, team_create
from tests.conftest import signed_in
from tests.netops.routes import ROLES, SOCKETS

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = b"http://localhost"


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    """One of each role in red, and the outsider, who owns blue."""
    red, blue = (team_create(slug=slug, name=slug) for slug in ("red", "blue"))
    people = {}
    for role in ROLES[1:]:
        people[role] = User.objects.create(username=role)
        if role == "outsider":
            member_set(team=blue, user=people[role], role="owner")
        else:
            member_set(team=red, user=people[role], role=role)
    return people


def _headers(user: User | None, origin: bytes = ORIGIN) -> list[tuple[bytes, bytes]]:
    headers = [(b"origin", origin), (b"host", b"localhost")]
    if user:
        cookie = signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    return headers


async def _try(app: Any, path: str, headers: list[tuple[bytes, bytes]]) -> Any:
    """What the server does first: "open", "spoke", or the code that it closes with."""
    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": []}
    make: Any = ApplicationCommunicator
    talk = make(app, scope)
    try:
        await talk.send_input({"type": "websocket.connect"})
        first = await talk.receive_output(10)
        if first["type"] == "websocket.accept":
            if await talk.receive_nothing(timeout=0.2):
                return "open"
            first = await talk.receive_output(10)
        return first.get("code", 1000) if first["type"] == "websocket.close" else "spoke"
    finally:
        talk.stop(exceptions=False)


def test_every_socket_has_its_line() -> None:
    assert {str(route.pattern) for route in sockets.routes} == set(SOCKETS)


@pytest.mark.parametrize("role", ROLES)
def test_a_page_hears_of_its_own_team_alone(role: str, people: dict[str, User]) -> None:
    headers = _headers(people.get(role))
    open_ = {slug: async_to_sync(_try)(application, f"/ws/t/{slug}/events", headers) for slug in (
        "red", "blue", "green"
    )}  # fmt: skip
    mine = {"anonymous": "", "outsider": "blue"}.get(role, "red")
    assert open_ == {slug: "open" if slug == mine else 4404 for slug in open_}


def test_a_page_of_another_site_gets_no_socket(people: dict[str, User]) -> None:
    answer = async_to_sync(_try)(application, "/ws/t/red/events", _headers(people["owner"], b"https://evil.example"))
    assert answer not in ("open", "spoke")


@pytest.mark.parametrize("path", ["/", "/links", "/link/", "/link/red", "/ws/t/red/events", "/LINK"])
def test_the_gateway_has_one_path(path: str) -> None:
    assert async_to_sync(_try)(Gateway(get_asgi_application()), path, []) not in ("open", "spoke")


def test_the_gateway_says_nothing_but_its_challenge() -> None:
    """Who may go on is asked of the key, in tests/agents/test_gateway.py."""
    assert async_to_sync(_try)(Gateway(get_asgi_application()), "/link", []) == "spoke"
