"""Two teams with a row in every table, a person of every role, and requests whose effects are undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from core.scope import team_scope
from inventory.netbox.addresses import ROUTER
from tenancy.models import Team, TeamModel, User
from tenancy.services import member_set, team_create, token_create
from tests.netops.routes import PARTS, ROLES, Door
from tests.teams import Rows

NOWHERE = 987654321987
"""An id that no row has."""


class World:
    """Red's rows say "zebra" in each text, blue's "quagga". The outsider is owner of blue."""

    def __init__(self) -> None:
        self.red = Rows(team_create(slug="red", name="Red zebra"), "zebra").all()
        self.blue = Rows(team_create(slug="blue", name="Blue quagga"), "quagga").all()
        self.people: dict[str, User] = {}
        self.tokens: dict[str, str] = {}
        self._sessions: dict[str, str] = {}
        for role in ROLES[1:]:
            team, rank = (self.blue.team, "owner") if role == "outsider" else (self.red.team, role)
            self.people[role] = user = User.objects.create(username=f"{role}-person")
            member_set(team=team, user=user, role=rank)
            self.tokens[role] = token_create(team=team, role=rank)

    def client(self, role: str) -> Client:
        """A new one for each, because a sign-out takes its cookie; the session behind it is the same."""
        client = Client(raise_request_exception=False)
        if role != "anonymous":
            if role not in self._sessions:
                client.force_login(self.people[role])
                self._sessions[role] = client.cookies[settings.SESSION_COOKIE_NAME].value
            client.cookies[settings.SESSION_COOKIE_NAME] = self._sessions[role]
        return client

    def url(self, route: str, door: Door, rows: Rows | None = None, slug: str = "red") -> str:
        """The address of a route, of a row of `rows`; without, of ids that never were."""
        url = "/" + re.sub(r"[\^$]", "", route).replace("<slug:slug>", slug)
        values = PARTS | {name: str(self.key(label, rows)) for name, label in door.ids.items()}
        for name, value in values.items():
            url = re.sub(rf"<(\w+:)?{name}>|\(\?P<{name}>[^)]*\)", value, url).replace("\\.", ".")
        assert "<" not in url, f"say in the line of {route} which model's row {url} names"
        return url

    @staticmethod
    def key(label: str, rows: Rows | None) -> Any:
        if label.startswith("router of "):
            return ROUTER + World.key(label.removeprefix("router of "), rows) % 10**12
        model: Any = apps.get_model(label)
        if model is Team:
            return rows.team.pk if rows else NOWHERE
        assert issubclass(model, TeamModel)
        return rows[model].pk if rows else NOWHERE


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Made once for a module: each request is undone by itself (`ask`)."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(client: Client, method: str, url: str, body: Any = None, token: str = "", **headers: str) -> HttpResponse:
    """One request, without effect. `body` is sent as JSON to the API and as a form to a page."""
    cache.clear()  # what limits rates counts there
    if token:
        headers["Authorization"] = f"Token {token}"
    extra: dict[str, Any] = {"headers": headers}
    if method not in ("GET", "HEAD", "OPTIONS"):
        extra |= {"data": body or {}} if method == "POST" and not url.startswith("/api/") else {
            "data": body if body is not None else {}, "content_type": "application/json",
        }  # fmt: skip
    with undone():
        answer: Any = getattr(client, method.lower())(url, **extra)
        if answer.streaming:
            answer = HttpResponse(b"".join(answer.streaming_content), status=answer.status_code, headers=answer.headers)
    found: HttpResponse = answer
    return found


VARYING = ("Content-Length", "X-Request-ID", "Expires", "Date")


def told(answer: HttpResponse, *ids: Any) -> tuple[int, dict[str, str], str]:
    """All that a caller can see of an answer, with the ids asked for and what is random made alike."""

    def plain(text: str) -> str:
        for each in ids:
            text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(str(each))}(?![0-9A-Za-z])", "ID", text)
        return text

    own = r'name="csrfmiddlewaretoken" value="|nonce="|X-CSRFToken": "|data-ago>|Expires in">|Expires in</dt><dd>'
    random = re.compile(f'({own})[^"<]+')
    headers = {name: plain(value) for name, value in answer.items() if name not in VARYING}
    if cookie := answer.cookies.get("messages"):
        said = CookieStorage(HttpRequest())._decode(cookie.value) or []  # type: ignore[attr-defined]
        headers["messages"] = " ".join(str(each) for each in said)
    return answer.status_code, headers, plain(random.sub(r"\1", answer.content.decode(errors="replace")))


def routes() -> list[str]:
    """Every route of the resolver, as it is written."""
    return list(dict.fromkeys(_walk(get_resolver().url_patterns, "")))


def _walk(patterns: list[Any], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, here)
        else:
            assert isinstance(pattern, URLPattern)
            yield here


def scoped(rows: Rows) -> Any:
    return team_scope(rows.team.pk)
