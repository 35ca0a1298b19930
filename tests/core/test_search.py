"""Search finds what icontains finds and never another team's rows; lists are served by their indexes."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import Q, QuerySet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from core.scope import team_scope
from core.search import matching
from inventory.models import Device, HalfLink, Interface, Link
from netops import embedded, home
from tenancy.models import Team
from tenancy.services import team_create

NAMES = [
    "R1",
    "edge-ams-1",
    "EDGE_AMS.2",
    "100%",
    "a\\b",
    "o'brien",
    "Zürich",
    "straße",
    "İstanbul",
    "ſtack",
    "K",
    "ab/cd:ef",
]
DEVICES = 4000

FILL = """
INSERT INTO inventory_device (team_id, name, sort_key, status, serial, key, igp_router_id, router_id, up, session,
        first_seen, changed)
    SELECT %(team)s, name, lower(name), 'active', '', '', '0000.0000.' || lpad(n::text, 4, '0'), '10.9.0.0'::inet + n,
        true, 0, now(), now()
    FROM (SELECT n, coalesce((%(names)s::text[])[n], 'core-' || n) AS name FROM generate_series(1, %(many)s) n) AS made;
INSERT INTO inventory_interface (team_id, device_id, name, address, learned)
    SELECT team_id, id, 'xe-0/0/' || port, '172.16.0.0'::inet + id, false
    FROM inventory_device, generate_series(0, 1) port WHERE team_id = %(team)s;
"""


@pytest.fixture(scope="module")
def teams(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Team, Team]]:
    """A team with 4,000 devices and one with a few of the same names: committed, and known to the planner."""
    with django_db_blocker.unblock():
        made = (team_create(slug="many", name="Many"), team_create(slug="few", name="Few"))
        with psycopg.connect(home.database_url("owner"), autocommit=True) as owner:
            owner.execute("ALTER TABLE inventory_device DISABLE TRIGGER USER")
            owner.execute("ALTER TABLE inventory_interface DISABLE TRIGGER USER")
            for team, many in zip(made, (DEVICES, 20), strict=True):
                for statement in FILL.split(";\n")[:2]:
                    owner.execute(statement, {"team": team.pk, "names": NAMES, "many": many})
            owner.execute("ALTER TABLE inventory_device ENABLE TRIGGER USER")
            owner.execute("ALTER TABLE inventory_interface ENABLE TRIGGER USER")
            owner.execute("VACUUM ANALYZE inventory_device, inventory_interface")
        yield made
        with psycopg.connect(home.database_url("owner"), autocommit=True) as owner:
            owner.execute("TRUNCATE tenancy_team CASCADE")


def _plain(queryset: QuerySet[Any], lookups: tuple[str, ...], text: str) -> QuerySet[Any]:
    how = {"router_id": "istartswith", "address": "istartswith"}
    each = [(f"{lookup}__{how.get(lookup, 'icontains')}", text) for lookup in lookups]
    return queryset.filter(Q(*each, _connector=Q.OR))


def _ids(queryset: QuerySet[Any]) -> list[int]:
    return list(queryset.order_by("pk").values_list("pk", flat=True))


_parts = st.sampled_from([name[at : at + size] for name in NAMES for at in range(len(name)) for size in (1, 2, 3, 5)])
_texts = (
    _parts | st.text(st.sampled_from("%_\\'\"-./: 01aeEkKſßÜüİi\n"), min_size=1, max_size=6) | _parts.map(str.swapcase)
)


@pytest.mark.django_db
@settings(deadline=None, max_examples=50)
@given(_texts.filter(str.strip))
@example("core-1")
@example("core")
@example("10.9.0.1")
@example("0000.0000.00")
@example("172.16")
@example("%")
@example("_")
@example("\\")
def test_it_finds_what_a_look_at_each_row_finds(teams: tuple[Team, Team], text: str) -> None:
    for team in teams:
        with team_scope(team.pk):
            for model, lookups in (
                (Device, ("name", "igp_router_id", "router_id")), (Device, ("name", "site__name")),
                (Interface, ("name", "address")), (Interface, ("name", "device__name")),
            ):  # fmt: skip
                rows = model.objects.all()
                assert _ids(matching(rows, lookups, text)) == _ids(_plain(rows, lookups, text)), (model, lookups)
            few = matching(Device.objects.filter(name__startswith="R"), ("name",), text)
            assert set(_ids(few)) <= set(_ids(Device.objects.filter(name="R1")))


@pytest.mark.django_db
def test_a_text_that_many_rows_contain_finds_all_of_them(teams: tuple[Team, Team]) -> None:
    with team_scope(teams[0].pk):
        found = matching(Device.objects.all(), Device.searched, "ORE-")
        assert found.count() == DEVICES - len(NAMES)
        assert matching(Interface.objects.all(), ("device__name",), "core-39").count() == 2 * 111


@pytest.mark.django_db
def test_links_are_found_by_name_and_address(scope: Team) -> None:
    from tests.teams import Rows

    rows = Rows(scope, "zebra").all()
    address = rows[HalfLink].local_address
    for text in ("EBR", address):
        assert _ids(matching(Link.objects.distinct(), ("name", "half_links__local_address"), text)) == [rows[Link].pk]
    assert _ids(matching(Link.objects.distinct(), ("name", "half_links__local_address"), "quagga")) == []


def _plans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _plans(each)


def _search_plan(team: int, kind: str, text: str) -> list[dict[str, Any]]:
    """The plan of the query inside netops_search as `app` runs it, which only a superuser is shown (auto_explain)."""
    postgres = embedded.Postgres(home.data(), home.port("postgres"))
    told: list[str] = []
    with psycopg.connect(postgres.url("postgres", home.secret("database_superuser"), "netops")) as watcher:
        watcher.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        watcher.execute("LOAD 'auto_explain'")
        for name, value in (
            ("log_min_duration", "0"), ("log_nested_statements", "on"), ("log_format", "json"), ("log_level", "notice"),
        ):  # fmt: skip
            watcher.execute(f"SET auto_explain.{name} = {value}")
        watcher.execute("SET ROLE app")
        watcher.execute("SELECT set_config('netops.team', %s, true)", [str(team)])
        told.clear()
        watcher.execute("SELECT netops_search(%s, %s, 1001)", [kind, text])
    inner = [json.loads(each[each.index("{") :]) for each in told if "array_agg" in each]
    return [node for plan in inner for node in _plans(plan["Plan"])]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "field", "by"),
    [
        (Device, "name", {"device_search"}),
        (Device, "router_id", {"device_search", "device_address"}),
        (Interface, "address", {"interface_search", "interface_address"}),
    ],
)
def test_a_search_is_served_by_indexes(teams: tuple[Team, Team], model: type[Device], field: str, by: set[str]) -> None:
    with team_scope(teams[0].pk):
        text = str(model.objects.order_by("-pk").values_list(field, flat=True)[0])
    names = {node.get("Index Name") for node in _search_plan(teams[0].pk, str(model._meta.model_name), text)}
    assert names - {None} == by


@pytest.mark.django_db
def test_what_shows_at_once_needs_no_index(teams: tuple[Team, Team]) -> None:
    assert _search_plan(teams[0].pk, "device", "core-") == []


@pytest.mark.django_db
def test_lists_come_from_an_index_that_starts_with_the_team(teams: tuple[Team, Team]) -> None:
    many, few = teams
    for team, model, order, page, index in (
        (many, Device, "sort_key", slice(50), "device_order"),
        (many, Device, "sort_key", slice(3000, 3050), "device_order"),
        (few, Device, "sort_key", slice(20), "device_order"),
        (few, Interface, "pk", slice(20), "inventory_interface_team_id_uniq"),
    ):
        with team_scope(team.pk):
            rows = model.objects.order_by(order, "pk").values("id", "name")[page]
            nodes = list(_plans(json.loads(rows.explain(format="json"))[0]["Plan"]))
        assert {node["Index Name"] for node in nodes if "Index Name" in node} == {index}
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [index])
            assert "(team_id, " in cursor.fetchone()[0]
