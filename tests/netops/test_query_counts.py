"""How many queries each page and endpoint makes: as many as query_counts.json says, however many rows there are.

After a change that is meant: `NETOPS_WRITE_BASELINE=1 .venv/bin/python -m pytest -q tests/netops/test_query_counts.py`
writes the file anew; the difference is part of the change.
"""

import json
import os
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.netops.routes import NEEDS_QUERY, ROUTES
from tests.netops.world import World, ask, world

__all__ = ["world"]
pytestmark = pytest.mark.xdist_group("query counts")

FILE = Path(__file__).with_name("query_counts.json")
COUNTED = [route for route, door in ROUTES.items() if "GET" in door.may and door.kind in ("page", "api", "person")]


def _count(world: World, route: str, parameters: str = "") -> int:
    """The queries of GET as the owner; savepoints are there only because a test is one transaction."""
    client = world.client("owner")
    url = f"{world.url(route, ROUTES[route], world.red)}?{NEEDS_QUERY.get(route, parameters)}"
    ask(client, "GET", url)  # what a process looks up once
    with CaptureQueriesContext(connection) as captured:
        answer = ask(client, "GET", url)
    assert answer.status_code < 500, (url, answer.content[:300])
    return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")) for query in captured)


def test_the_number_of_queries_is_the_one_written_down_and_does_not_grow(world: World) -> None:
    world.red.all()  # what there is one of may be shown at once
    few = {route: _count(world, route) for route in COUNTED}
    first = dict(world.red.made)
    for _ in range(4):
        world.red.all()
    world.red.made = first
    many = {route: _count(world, route) for route in COUNTED}
    grown = {route: (few[route], many[route]) for route in COUNTED if few[route] != many[route]}
    assert not grown, f"queries grow with the rows (few, many): {grown}"
    if os.environ.get("NETOPS_WRITE_BASELINE"):
        FILE.write_text(json.dumps(few, indent=1, sort_keys=True) + "\n")
    written = json.loads(FILE.read_text())
    changed = {
        route: (written.get(route), few.get(route))
        for route in {*written, *few}
        if written.get(route) != few.get(route)
    }
    assert not changed, f"the number of queries changed (written down, now): {changed}; see this file's first lines"


@pytest.mark.parametrize("parameters", ["limit=1", "limit=0", "brief=1", "start=0", "q=zebra", "fields=id,url"])
def test_neither_page_size_nor_shape_makes_more_queries(parameters: str, world: World) -> None:
    lists = [
        route
        for route in COUNTED
        if route.startswith("api/") and not ROUTES[route].ids and f"{route}<int:pk>/" in ROUTES
    ]
    assert len(lists) > 20
    written = json.loads(FILE.read_text())
    # A text that is searched by an index asks for the ids first, once for each model searched.
    more = 3 if parameters.startswith("q=") else 0
    counts = {route: _count(world, route, parameters) for route in lists}
    assert {route: count for route, count in counts.items() if count > written[route] + more} == {}
