"""Every door, tried by everyone with every method; nothing of a team is seen, named or guessed through another's."""

import re

import pytest
from django.http import HttpResponse

from tenancy.roles import can
from tests.netops.routes import METHODS, NEEDS_QUERY, ROLES, ROUTES, SUPERUSERS, Door
from tests.netops.world import NOWHERE, World, ask, routes, told, world

__all__ = ["world"]
pytestmark = pytest.mark.xdist_group("routes")

# What a door that is open may say to an empty body: it was done, or it was asked wrongly.
OPEN = {200, 201, 202, 204, 302, 303, 400, 409, 422, 428}
IDS = [route for route, door in ROUTES.items() if door.ids]


def test_every_route_has_its_line() -> None:
    missing = sorted(route for route in set(routes()) - set(ROUTES) if not route.startswith(SUPERUSERS))
    assert not missing, f"say in tests/netops/routes.py who may pass through: {missing}"
    assert not set(ROUTES) - set(routes()), "these routes are gone: take their lines away"


def expected(door: Door, role: str, method: str) -> set[int]:
    """Which statuses are right."""
    asked = door.may.get(method)
    if door.kind in ("anyone", "operator"):
        return set(asked or ()) or ({200, 302, 405} if method == "OPTIONS" else {405})
    if door.kind == "person":
        return {302, 405} if role == "anonymous" else set(asked or ()) or {200, 302, 405}
    if role == "anonymous":
        return {302} if door.kind == "page" else {401}
    if role == "outsider":
        if door.kind == "page":
            return {404}
        if door.ids and asked:
            return {404}
        role = "owner"
    if asked is None:
        return {200, 403, 405} if method == "OPTIONS" else {403, 405} if not can(role, "change") else {405}
    if not can(role, asked):
        return {403}
    return {door.found} if method in ("GET", "HEAD") else OPEN


def _url(world: World, route: str) -> str:
    url = world.url(route, ROUTES[route], world.red)
    return f"{url}?{NEEDS_QUERY[route]}" if route in NEEDS_QUERY else url


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route or "home")
def test_each_door_opens_to_whom_it_should(route: str, role: str, world: World) -> None:
    door, client, url = ROUTES[route], world.client(role), _url(world, route)
    for method in METHODS:
        answers = [ask(client, method, url)]
        if door.kind == "api" and method in door.may and role in world.tokens:
            answers.append(ask(world.client("anonymous"), method, url, token=world.tokens[role]))
        for answer in answers:
            right = expected(door, role, method) | ({400} if route in NEEDS_QUERY else set())
            assert answer.status_code in right, (method, url, answer.status_code, answer.content[:300])
            if role in ("anonymous", "outsider"):
                _says_nothing(answer)


@pytest.mark.parametrize("role", ROLES)
def test_the_admin_is_there_for_superusers_only(role: str, world: World) -> None:
    paths = [re.sub(r"<[^>]*>", "1", route) for route in routes() if route.startswith(SUPERUSERS)]
    assert len(paths) > 100
    client = world.client(role)
    for path in [path for path in paths if "(" not in path] + ["admin/tenancy/", "admin/nowhere/"]:
        for method in METHODS if role in ("anonymous", "owner") else ("GET", "POST"):
            answer = ask(client, method, f"/{path}")
            assert answer.status_code == (302 if role == "anonymous" else 404), (method, path)
            assert answer.headers.get("Location", "/sign-in/").startswith("/sign-in/")


def _says_nothing(answer: HttpResponse) -> None:
    said = answer.content.decode(errors="replace") + str(answer.headers)
    assert "zebra" not in said.lower(), said[:2000]


@pytest.mark.parametrize("route", [route for route, door in ROUTES.items() if door.kind == "page"])
def test_a_team_of_others_looks_like_one_that_does_not_exist(route: str, world: World) -> None:
    door, client = ROUTES[route], world.client("outsider")
    for method in METHODS:
        theirs = told(ask(client, method, world.url(route, door, world.red)), "red")
        never = told(ask(client, method, world.url(route, door, world.red, "green")), "green")
        assert theirs == never, method


@pytest.mark.parametrize("route", IDS)
def test_ids_of_others_look_like_ids_that_never_were(route: str, world: World) -> None:
    """Asked both ways, by the owner of each team, with each method that the door has."""
    door = ROUTES[route]
    for role, slug, foreign in (("owner", "red", world.blue), ("outsider", "blue", world.red)):
        keys = {world.key(label, foreign) for label in door.ids.values()}
        for method in door.may:
            theirs, never = (
                ask(world.client(role), method, world.url(route, door, rows, slug), {"id": 1, "name": "x"})
                for rows in (foreign, None)
            )
            # Some pages go back to their list, with a line that says so.
            assert theirs.status_code in ((404, 302) if door.kind == "page" and method == "POST" else (404,)), method
            assert told(theirs, *keys, NOWHERE) == told(never, *keys, NOWHERE), (role, method)


def test_the_api_knows_no_team_that_is_not_yours(world: World) -> None:
    client = world.client("outsider")
    for route in (route for route, door in ROUTES.items() if door.kind == "api"):
        url = _url(world, route)
        theirs, never = (ask(client, "GET", url, X_Team=slug) for slug in ("red", "green"))
        assert theirs.status_code == never.status_code == 400
        assert told(theirs) == told(never)
