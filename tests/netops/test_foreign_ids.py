"""Another team's ids and names in bodies and queries are worth what ids and names are that nobody ever had."""

import json
from typing import Any

import pytest

from core.api.fields import Ref, Refs
from core.api.resource import Resource, resources
from tests.netops.routes import ROUTES
from tests.netops.world import NOWHERE, World, ask, routes, told, world

__all__ = ["world"]
pytestmark = pytest.mark.xdist_group("routes")

NEVER = "neverwas"
routes()  # whoever is imported by it is known in `resources`
SERVED = {
    model: resource for model, resource in resources.items() if f"api/{resource.room()}/{resource.plural}/" in ROUTES
}
REFERENCES = [
    (resource, name, isinstance(field, Refs))
    for resource in SERVED.values()
    for name, field in resource.row().fields.items()
    if isinstance(field, Ref | Refs) and not field.read_only and (resource.create or resource.update)
]
PAGES = [route for route, door in ROUTES.items() if door.kind == "page" and "GET" in door.may and not door.ids]


def _target(resource: type[Resource], name: str) -> Any:
    field: Any = resource.row().fields[name]
    return getattr(field, "child_relation", field).model


def test_there_are_references_to_try() -> None:
    names = {f"{resource.plural}.{name}" for resource, name, _ in REFERENCES}
    assert {"devices.site", "interfaces.device", "links.a_interface", "campaigns.targets", "campaigns.agent"} <= names


@pytest.mark.parametrize(
    ("resource", "name", "many"), REFERENCES, ids=[f"{resource.plural}-{name}" for resource, name, _ in REFERENCES]
)
def test_a_reference_into_another_team_is_one_to_nothing(
    resource: type[Resource], name: str, many: bool, world: World
) -> None:
    client, model = world.client("owner"), _target(resource, name)
    list_url = f"/api/{resource.room()}/{resource.plural}/"
    pk = world.red[resource.model()].pk
    for mine, theirs, never in _values(world, model):
        for method, url, around in (
            ("POST", list_url, lambda body: body),
            ("POST", list_url, lambda body: [body]),
            ("PATCH", f"{list_url}{pk}/", lambda body: body),
            ("PATCH", list_url, lambda body: [{"id": pk, **body}]),
        ):
            if not (resource.update if method == "PATCH" else resource.create):
                continue
            refused, unknown, fine = (
                ask(client, method, url, around({name: [value] if many else value})) for value in (theirs, never, mine)
            )
            assert refused.status_code == unknown.status_code == 400, (method, refused.content)
            assert told(refused, *_words(theirs)) == told(unknown, *_words(never))
            assert name in _fields(refused.content)
            assert b"There is no" not in fine.content


def _values(world: World, model: Any) -> list[tuple[Any, Any, Any]]:
    """(ours, another team's, nobody's), by id and by name."""
    mine, theirs = world.red[model], world.blue[model]
    found: list[tuple[Any, Any, Any]] = [(mine.pk, theirs.pk, NOWHERE)]
    if hasattr(mine, "name") and not any(field.name == "device" for field in model._meta.fields):
        found.append(({"name": mine.name}, {"name": theirs.name}, {"name": NEVER}))
    return found


def _words(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else [value]


def _fields(content: bytes) -> set[str]:
    said = json.loads(content)
    return set(said[0] if isinstance(said, list) else said)


@pytest.mark.parametrize("resource", SERVED.values(), ids=lambda resource: resource.plural)
def test_filters_find_nothing_of_another_team(resource: type[Resource], world: World) -> None:
    client, url = world.client("owner"), f"/api/{resource.room()}/{resource.plural}/"
    asked = [("q", "quagga", NEVER), ("id", _pk(world, resource.model()), NOWHERE)]
    for name, each in resource.filters().items():
        if "__" not in name and each.kind == "string":
            asked += [(name, text, NEVER) for text in _texts(world, resource, each.lookup)]
        elif each.kind == "integer" and name.endswith("_id"):
            related: Any = resource.model()._meta.get_field(each.lookup.removesuffix("__in").removesuffix("_id"))
            if related.related_model in world.blue.made:
                asked.append((name, world.blue[related.related_model].pk, NOWHERE))
    assert len(asked) > 1
    for name, theirs, never in asked:
        found, nothing = (ask(client, "GET", f"{url}?{name}={value}") for value in (theirs, never))
        assert told(found, theirs) == told(nothing, never), (name, theirs)
        assert "quagga" not in told(found, theirs)[2]
        searched = name != "q" or resource.search
        assert not searched or found.status_code == 400 or json.loads(found.content)["count"] == 0, (name, theirs)


def _pk(world: World, model: Any) -> Any:
    return world.blue.made[model].pk if model in world.blue.made else world.blue.team.pk


def _texts(world: World, resource: type[Resource], lookup: str) -> list[str]:
    """What stands in the filtered column of the other team's row, where it is text of its own."""
    row: Any = world.blue.made.get(resource.model(), world.blue.team)
    for step in lookup.removesuffix("__in").split("__"):
        row = getattr(row, step, None)
    return [row] if isinstance(row, str) and "quagga" in row else []


@pytest.mark.parametrize("route", PAGES)
def test_pages_find_nothing_of_another_team(route: str, world: World) -> None:
    client, url = world.client("owner"), world.url(route, ROUTES[route], world.red)
    for name in ("q", "search", "state", "user", "object", "page", "id"):
        theirs, never = (told(ask(client, "GET", f"{url}?{name}={text}"), text) for text in ("quagga", NEVER))
        assert theirs == never, name
        assert "quagga" not in theirs[2]
