"""The manager refuses to work without a team in scope, whichever way it is asked, and shows one team at a time."""

import ast
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, models, transaction
from django.db.models import Exists, OuterRef, Prefetch, Subquery
from django.forms import modelform_factory
from django.shortcuts import get_object_or_404
from django.utils import timezone

from core.scope import NoTeamInScope, team_scope, unscoped
from inventory.models import Device, Endpoint, Interface, Site, TopologySource, sorted_name
from netops.walls import team_models
from probing.models import Path as Walk
from tenancy.base import TeamModel, WrongTeam
from tenancy.models import Team
from tests.teams import Rows
from ticketing.models import Incident

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "tenancy", "ticketing", "inventory", "agents", "probing", "netops")
# Where the manager is let see every team: file, function → the reason it gives.
UNSCOPED: dict[tuple[str, str], str] = {}


@pytest.fixture
def red(team: Team) -> Rows:
    return Rows(team, "zebra").all()


@pytest.fixture
def blue(other_team: Team) -> Rows:
    return Rows(other_team, "quagga").all()


def _new(rows: Rows) -> Endpoint:
    return Endpoint(team=rows.team, **sorted_name("new"), address="192.0.2.1")


async def _each(queryset: Any) -> list[Any]:
    return [row async for row in queryset]


async def _await(start: Callable[[], Awaitable[Any]]) -> Any:
    return await start()


ATTEMPTS: dict[str, Callable[[Rows], object]] = {
    "all": lambda red: list(Endpoint.objects.all()),
    "filter": lambda red: Endpoint.objects.filter(pk=1),
    "none": lambda red: Endpoint.objects.none(),
    "get": lambda red: Endpoint.objects.get(pk=red[Endpoint].pk),
    "get_object_or_404": lambda red: get_object_or_404(Endpoint, pk=red[Endpoint].pk),
    "first": lambda red: Endpoint.objects.first(),
    "count": lambda red: Endpoint.objects.count(),
    "exists": lambda red: Endpoint.objects.exists(),
    "contains": lambda red: Endpoint.objects.contains(red[Endpoint]),
    "aggregate": lambda red: Endpoint.objects.aggregate(models.Max("pk")),
    "annotate": lambda red: Endpoint.objects.annotate(n=models.Count("pk")),
    "values": lambda red: Endpoint.objects.values("name"),
    "dates": lambda red: Device.objects.dates("changed", "day"),
    "in_bulk": lambda red: Endpoint.objects.in_bulk(),
    "iterator": lambda red: list(Endpoint.objects.iterator()),
    "raw": lambda red: list(Endpoint.objects.raw("SELECT * FROM inventory_endpoint")),
    "select_for_update": lambda red: Endpoint.objects.select_for_update(),
    "select_related": lambda red: Device.objects.select_related("source"),
    "prefetch_related": lambda red: Device.objects.prefetch_related("interfaces"),
    "union": lambda red: Endpoint.objects.union(Endpoint.objects.none()),
    "using": lambda red: Endpoint.objects.using("owner").count(),
    "db_manager": lambda red: Endpoint.objects.db_manager("owner").count(),
    "create": lambda red: Endpoint.objects.create(team=red.team, name="x", sort_key="x", address="192.0.2.1"),
    "get_or_create": lambda red: Endpoint.objects.get_or_create(team=red.team, name="x"),
    "update_or_create": lambda red: Endpoint.objects.update_or_create(team=red.team, name="x"),
    "bulk_create": lambda red: Endpoint.objects.bulk_create([_new(red)]),
    "bulk_create nothing": lambda red: Endpoint.objects.bulk_create([]),
    "bulk_create on conflict": lambda red: Endpoint.objects.bulk_create([_new(red)], ignore_conflicts=True),
    "bulk_update": lambda red: Endpoint.objects.bulk_update([red[Endpoint]], ["name"]),
    "update": lambda red: Endpoint.objects.update(name="x"),
    "delete": lambda red: Endpoint.objects.all().delete(),
    "custom queryset": lambda red: Walk.objects.active(),
    "custom queryset of incidents": lambda red: Incident.objects.open(),
    "default manager": lambda red: Endpoint._default_manager.all(),
    "base manager": lambda red: Endpoint._base_manager.all(),
    "a default team": lambda red: Endpoint(name="x"),
    "save": lambda red: red[Endpoint].save(),
    "save with fields": lambda red: red[Endpoint].save(update_fields=["name"]),
    "save a new row": lambda red: _new(red).save(),
    "force insert": lambda red: _new(red).save(force_insert=True),
    "delete a row": lambda red: red[Endpoint].delete(),
    "delete a row that nothing points to": lambda red: red[Interface].delete(),
    "refresh": lambda red: red[Endpoint].refresh_from_db(),
    "full_clean": lambda red: red[Endpoint].full_clean(),
    "validate_constraints": lambda red: red[Endpoint].validate_constraints(),
    "forward": lambda red: Device(team=red.team, source_id=red[TopologySource].pk).source,
    "reverse": lambda red: red[Device].interfaces.all(),
    "reverse count": lambda red: red[Device].interfaces.count(),
    "reverse create": lambda red: red[Device].interfaces.create(team=red.team, name="x"),
    "reverse add": lambda red: red[Device].interfaces.add(red[Interface]),
    "reverse add in bulk": lambda red: red[Device].interfaces.add(red[Interface], bulk=False),
    "reverse set": lambda red: red[Device].interfaces.set([red[Interface]]),
    "reverse clear": lambda red: red[Site].devices.clear(),
    "reverse update": lambda red: red[Device].interfaces.update(name="x"),
    "reverse delete": lambda red: red[Device].interfaces.all().delete(),
    "a form's choices": lambda red: modelform_factory(Interface, fields=["device"])(),
    "a page": lambda red: Paginator(Endpoint.objects.all(), 10).page(1),
    "async get": lambda red: async_to_sync(_await)(lambda: Endpoint.objects.aget(pk=1)),
    "async count": lambda red: async_to_sync(_await)(lambda: Endpoint.objects.acount()),
    "async create": lambda red: async_to_sync(_await)(lambda: Endpoint.objects.acreate(team=red.team, name="x")),
    "async for": lambda red: async_to_sync(_each)(Endpoint.objects.all()),
    "async save": lambda red: async_to_sync(red[Endpoint].asave)(),
    "async delete": lambda red: async_to_sync(red[Endpoint].adelete)(),
    "async refresh": lambda red: async_to_sync(red[Endpoint].arefresh_from_db)(),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=list(ATTEMPTS))
def test_without_a_team_the_manager_raises(attempt: Callable[[Rows], object], red: Rows) -> None:
    with pytest.raises(NoTeamInScope), transaction.atomic():
        attempt(red)
    with team_scope(red.team.pk):
        assert Endpoint.objects.get().name == red[Endpoint].name


@pytest.mark.parametrize("model", team_models(), ids=lambda model: model.__name__)
def test_the_manager_of_every_model_raises(model: type[TeamModel], db: None) -> None:
    for manager in (model.objects, model._base_manager, model._default_manager):
        with pytest.raises(NoTeamInScope):
            manager.exists()


def test_another_thread_is_in_no_team(red: Rows) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            Endpoint.objects.all()
        except NoTeamInScope as error:
            raised.append(error)

    with team_scope(red.team.pk):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(raised) == 1


QUERYSETS: dict[str, Callable[[], Any]] = {
    "all": lambda: Endpoint.objects.all(),
    "values": lambda: Endpoint.objects.values_list("pk", "name"),
    "raw": lambda: Endpoint.objects.raw("SELECT * FROM inventory_endpoint"),
    "iterator": lambda: Endpoint.objects.order_by("pk").iterator(chunk_size=1),
    "select_for_update": lambda: Endpoint.objects.select_for_update(),
    "union": lambda: Endpoint.objects.order_by().union(Endpoint.objects.order_by(), all=True),
    "or": lambda: Endpoint.objects.filter(pk__gt=0) | Endpoint.objects.all(),
    "custom": lambda: Walk.objects.active(),
    "select_related": lambda: Device.objects.select_related("source", "site__team"),
    "prefetch_related": lambda: Device.objects.prefetch_related(Prefetch("interfaces", Interface.objects.all())),
    "subquery": lambda: Device.objects.filter(pk__in=Interface.objects.values("device")),
    "exists": lambda: Device.objects.filter(Exists(Interface.objects.filter(device=OuterRef("pk")))),
    "annotated": lambda: Device.objects.annotate(port=Subquery(Interface.objects.values("name")[:1])),
    "distinct": lambda: Device.objects.distinct(),
    "sliced": lambda: Endpoint.objects.all()[:5],
}


@pytest.mark.parametrize("make", QUERYSETS.values(), ids=list(QUERYSETS))
def test_a_queryset_does_not_carry_rows_out_of_its_scope(make: Callable[[], Any], red: Rows, blue: Rows) -> None:
    with team_scope(red.team.pk):
        assert len(list(make())) >= 1
        carried, other, nested = make(), make(), make()
        with team_scope(blue.team.pk):
            assert "zebra" not in repr(list(nested))
    with team_scope(blue.team.pk):
        assert "zebra" not in repr(list(carried))
    assert list(other) == []


def test_writes_of_a_queryset_that_was_carried_out_write_nothing(red: Rows, blue: Rows) -> None:
    with team_scope(red.team.pk):
        carried = Endpoint.objects.all()
    for scope in (team_scope(blue.team.pk), transaction.atomic()):
        with scope:
            assert carried.count() == 0
            assert carried.update(name="x") == 0
            assert carried._raw_delete("default") == 0
            assert carried.exists() is False
            assert carried.aggregate(n=models.Count("pk")) == {"n": 0}
    with team_scope(red.team.pk):
        assert Endpoint.objects.get().name == red[Endpoint].name


def test_each_team_gets_its_own_by_related_managers_and_joins(red: Rows, blue: Rows) -> None:
    for rows in (red, blue):
        with team_scope(rows.team.pk):
            device = Device.objects.select_related("source", "site").get()
            assert device.source == rows[TopologySource]
            assert [port.name for port in device.interfaces.all()] == [rows[Interface].name]
            found = Interface.objects.filter(device__source__name__gt="").values_list("device__site__name", flat=True)
            assert list(found) == [rows[Site].name]


FOREIGN: dict[str, Callable[[Rows], object]] = {
    "save": lambda blue: blue[Endpoint].save(),
    "save with fields": lambda blue: blue[Endpoint].save(update_fields=["name"]),
    "force update": lambda blue: blue[Endpoint].save(force_update=True),
    "force insert": lambda blue: _new(blue).save(force_insert=True),
    "create": lambda blue: Endpoint.objects.create(team=blue.team, name="x", sort_key="x", address="192.0.2.1"),
    "bulk_create": lambda blue: Endpoint.objects.bulk_create([_new(blue)]),
    "bulk_create on conflict": lambda blue: Endpoint.objects.bulk_create([_new(blue)], ignore_conflicts=True),
    "upsert": lambda blue: Endpoint.objects.bulk_create(
        [blue[Endpoint]], update_conflicts=True, unique_fields=["id"], update_fields=["name"]
    ),
    "hand over": lambda blue: Endpoint.objects.update(team=blue.team),
    "delete": lambda blue: blue[Endpoint].delete(),
    "delete what nothing points to": lambda blue: blue[Interface].delete(),
    "refresh": lambda blue: blue[Endpoint].refresh_from_db(),
    "reverse create": lambda blue: blue[Device].interfaces.create(name="x"),
    "foreign key": lambda blue: Device.objects.update(site=blue[Site]),
    "foreign key of a new row": lambda blue: Interface.objects.create(device=blue[Device], name="x"),
    "foreign keys in bulk": lambda blue: Interface.objects.bulk_create([Interface(device=blue[Device], name="x")]),
    "a clean foreign key": lambda blue: Interface(device_id=blue[Device].pk, name="x").full_clean(),
    "in_bulk": lambda blue: Endpoint.objects.in_bulk([blue[Endpoint].pk])[blue[Endpoint].pk],
}


@contextmanager
def _checked(rows: Rows) -> Iterator[None]:
    """The scope of a team whose foreign keys are checked before it ends, as a commit does."""
    with team_scope(rows.team.pk):
        yield
        connection.check_constraints()


@pytest.mark.parametrize("attempt", FOREIGN.values(), ids=list(FOREIGN))
def test_a_row_of_another_team_is_refused(attempt: Callable[[Rows], object], red: Rows, blue: Rows) -> None:
    blue[Endpoint].name = "taken over"
    refusals = (DatabaseError, ObjectDoesNotExist, ValidationError, WrongTeam, KeyError)
    with pytest.raises(refusals), _checked(red):
        attempt(blue)
    for rows in (red, blue):
        with team_scope(rows.team.pk):
            assert Endpoint.objects.get().name.startswith(rows.marker)
            assert Interface.objects.get().device_id == rows[Device].pk
            assert Device.objects.get().site_id == rows[Site].pk


def test_the_refusals_of_the_database_name_the_wall(red: Rows, blue: Rows) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), team_scope(red.team.pk):
        blue[Endpoint].save()
    with pytest.raises(IntegrityError, match="inventory_device_site_id_team_fk"), _checked(red):
        Device.objects.update(site=blue[Site])


def test_bulk_updates_of_foreign_rows_touch_nothing(red: Rows, blue: Rows) -> None:
    blue[Endpoint].name = "taken over"
    with team_scope(red.team.pk):
        assert Endpoint.objects.bulk_update([blue[Endpoint]], ["name"]) == 0
        assert Endpoint.objects.filter(pk=blue[Endpoint].pk).update(name="taken over") == 0
        assert Endpoint.objects.filter(pk=blue[Endpoint].pk).delete() == (0, {})
        Device.objects.get().interfaces.add(blue[Interface])
        assert [port.pk for port in Device.objects.get().interfaces.all()] == [red[Interface].pk]
    with team_scope(blue.team.pk):
        assert Interface.objects.get().device_id == blue[Device].pk
        assert Endpoint.objects.get().name.startswith("quagga")


def test_the_escape_needs_a_reason_and_still_meets_the_database(red: Rows) -> None:
    with unscoped("a test of the escape"):
        assert list(Endpoint.objects.all()) == []
        with pytest.raises(NoTeamInScope):
            Endpoint(name="x")
    with pytest.raises(NoTeamInScope):
        Endpoint.objects.all()
    with pytest.raises(AssertionError), unscoped(""):
        pass


def _calls(name: str) -> Iterator[tuple[str, str, str]]:
    """Every call of `name` in the rooms: file, function around it, first argument."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            yield from _calls_in(ast.parse(path.read_text()), name, str(path.relative_to(ROOT)), "")


def _calls_in(node: ast.AST, name: str, file: str, around: str) -> Iterator[tuple[str, str, str]]:
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else around
        if isinstance(child, ast.Call):
            called = child.func
            if name == (called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")):
                first = child.args[0] if child.args else None
                yield file, inner, str(first.value) if isinstance(first, ast.Constant) else ""
        yield from _calls_in(child, name, file, inner)


def test_the_escapes_are_these() -> None:
    assert {(file, around): reason for file, around, reason in _calls("unscoped")} == UNSCOPED
    assert all(UNSCOPED.values())


@pytest.mark.parametrize("name", ["QuerySet", "RawQuerySet", "_raw_delete", "DeleteQuery", "UpdateQuery", "RawSQL"])
def test_nothing_makes_queries_past_the_manager(name: str) -> None:
    assert list(_calls(name)) == []


def test_only_setting_up_uses_the_connection_of_owner() -> None:
    users = {file for file, _, first in [*_calls("using"), *_calls("db_manager")]}
    assert users == set()
    at = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if 'connections["owner"]' in path.read_text() or 'database_url("owner")' in path.read_text()
    }
    # Re-encrypts the secrets of all teams, on the command line of the operator alone.
    assert at == {"netops/rotation.py"}


def test_a_row_made_now_is_of_the_team_in_scope(team: Team) -> None:
    with team_scope(team.pk):
        assert Device(name="x", changed=timezone.now()).team_id == team.pk
