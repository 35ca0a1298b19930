"""Three teams do random things through every door, with the same names; each always has exactly what it made."""

import os
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from django.core.cache import cache
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core.scope import NoTeamInScope, team_scope
from inventory import services, written
from inventory.models import Device, Endpoint, Interface, Site
from tenancy.base import TeamModel, WrongTeam
from tenancy.models import Seat, Team, User
from tenancy.services import member_set, team_create, token_create

NAMES = ("red", "blue", "green")
KINDS: dict[str, type[Any]] = {"sites": Site, "devices": Device, "interfaces": Interface, "endpoints": Endpoint}
EVERYTHING = " UNION ALL ".join(
    f"SELECT '{plural}', id, name, team_id FROM {model._meta.db_table}" for plural, model in KINDS.items()
)
# 2,000 operations in `make test`, 100,000 in `make test-long`.
EXAMPLES, STEPS = (1000, 100) if os.environ.get("NETOPS_LONG") else (20, 100)

METHODS = ("get", "patch", "put", "delete")
QUERIES = ("", "q=n", "name__ic=N-", "start=0")

teams = st.sampled_from(NAMES)
plurals = st.sampled_from(list(KINDS))
picks = st.integers(0, 50)


class Side:
    """One team with what it must have: {plural: {id: name}}, and every id it ever had."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.team: Team = team_create(slug=slug, name=f"Team {slug}")
        self.user = User.objects.create(username=f"{slug}-person")
        member_set(team=self.team, user=self.user, role="owner")
        self.headers = {"Authorization": f"Token {token_create(team=self.team, role='admin')}"}
        self.session = Client(raise_request_exception=False)
        self.session.force_login(self.user)
        self.rows: dict[str, dict[int, str]] = {plural: {} for plural in KINDS}
        self.ever: dict[str, set[int]] = {plural: set() for plural in KINDS}
        self.made = 0

    def name(self) -> str:
        """The same in each team, so that only the wall keeps them apart."""
        self.made += 1
        return f"n-{self.made}"

    def have(self, plural: str, pk: int, name: str) -> None:
        self.rows[plural][pk] = name
        self.ever[plural].add(pk)

    def pick(self, plural: str, number: int) -> int | None:
        known = sorted(self.rows[plural])
        return known[number % len(known)] if known else None

    def forget(self, plural: str, pk: int) -> None:
        """A device takes its interfaces along."""
        if plural == "devices":
            with team_scope(self.team.pk):
                left = set(Interface.objects.values_list("pk", flat=True))
            self.rows["interfaces"] = {key: name for key, name in self.rows["interfaces"].items() if key in left}
        self.rows[plural].pop(pk)


class Teams(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.sides = {slug: Side(slug) for slug in NAMES}
        self.client = Client(raise_request_exception=False)
        self.carried: list[tuple[str, Any]] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)
        cache.clear()

    def send(self, side: Side, method: str, path: str, body: Any = None, *, session: bool = False) -> Any:
        client, headers = (side.session, {}) if session else (self.client, side.headers)
        call: Callable[..., Any] = getattr(client, method)
        data = {} if method == "get" else {"data": body, "content_type": "application/json"}
        return call(f"/api/inventory/{path}", headers=headers, **data)

    def body(self, side: Side, plural: str, number: int) -> dict[str, Any] | None:
        body: dict[str, Any] = {"name": side.name()}
        match plural:
            case "sites":
                body["slug"] = body["name"]
            case "devices":
                body |= {"serial": side.slug, "site": side.pick("sites", number)}
            case "interfaces":
                body["device"] = side.pick("devices", number)
                return body if body["device"] else None
            case "endpoints":
                body["address"] = f"192.0.2.{number}"
        return body

    # What a team does with its own

    @rule(slug=teams, plural=plurals, number=picks)
    def create_by_service(self, slug: str, plural: str, number: int) -> None:
        side = self.sides[slug]
        if (values := self.body(side, plural, number)) is None:
            return
        with team_scope(side.team.pk):
            if values.get("site"):
                values["site"] = Site.objects.get(pk=values["site"])
            if values.get("device"):
                values["device"] = Device.objects.get(pk=values["device"])
            make: dict[str, Callable[..., Any]] = {
                "sites": lambda **given: written.organised_create(model=Site, **given),
                "devices": written.device_create,
                "interfaces": written.interface_create,
                "endpoints": services.endpoint_create,
            }
            row = make[plural](**values)
        side.have(plural, row.pk, values["name"])

    @rule(slug=teams, plural=plurals, number=picks, session=st.booleans(), many=st.integers(0, 3))
    def create_by_rest(self, slug: str, plural: str, number: int, session: bool, many: int) -> None:
        side = self.sides[slug]
        bodies = [body for _ in range(many or 1) if (body := self.body(side, plural, number))]
        if bodies:
            answer = self.send(side, "post", f"{plural}/", bodies if many else bodies[0], session=session)
            assert answer.status_code == 201, answer.content
            for row in answer.json() if many else [answer.json()]:
                side.have(plural, row["id"], row["name"])

    @rule(slug=teams, plural=plurals)
    def create_in_bulk(self, slug: str, plural: str) -> None:
        side = self.sides[slug]
        if plural != "endpoints":
            return
        with team_scope(side.team.pk):
            names = [side.name(), side.name()]
            rows = Endpoint.objects.bulk_create(
                [Endpoint(name=name, sort_key=name, address="192.0.2.9") for name in names]
            )
        for row in rows:
            side.have("endpoints", row.pk, row.name)

    @rule(slug=teams, plural=plurals, number=picks, session=st.booleans(), listed=st.booleans())
    def rename_by_rest(self, slug: str, plural: str, number: int, session: bool, listed: bool) -> None:
        side = self.sides[slug]
        if (pk := side.pick(plural, number)) is None:
            return
        name = side.name()
        path, body = (f"{plural}/", [{"id": pk, "name": name}]) if listed else (f"{plural}/{pk}/", {"name": name})
        answer = self.send(side, "patch", path, body, session=session)
        assert answer.status_code == 200, answer.content
        side.rows[plural][pk] = name

    @rule(slug=teams, plural=plurals)
    def rename_all_by_sql(self, slug: str, plural: str) -> None:
        """Without a WHERE: the policy is all that keeps the others out."""
        side, model = self.sides[slug], KINDS[plural]
        with team_scope(side.team.pk), connection.cursor() as cursor:
            cursor.execute(f"UPDATE {model._meta.db_table} SET name = 'r' || name WHERE length(name) < 50")
            assert cursor.rowcount == len(side.rows[plural])
        side.rows[plural] = {pk: f"r{name}" for pk, name in side.rows[plural].items()}

    @rule(slug=teams, plural=plurals, number=picks, how=st.sampled_from(["rest", "list", "instance", "manager", "sql"]))
    def delete(self, slug: str, plural: str, number: int, how: str) -> None:
        side, model = self.sides[slug], KINDS[plural]
        pk = side.pick(plural, number)
        if pk is None or (plural == "sites" and how == "sql"):
            return
        if how in ("rest", "list"):
            path, body = (f"{plural}/{pk}/", None) if how == "rest" else (f"{plural}/", [{"id": pk}])
            answer = self.send(side, "delete", path, body)
            assert answer.status_code in ((204, 409) if plural == "sites" else (204,)), answer.content
            if answer.status_code == 409:
                return
        else:
            with team_scope(side.team.pk):
                if plural == "sites":
                    Device.objects.filter(site_id=pk).update(site=None)
                if how == "instance":
                    model.objects.get(pk=pk).delete()
                elif how == "manager" or plural == "devices":
                    model.objects.filter(pk=pk).delete()
                else:
                    with connection.cursor() as cursor:
                        cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE name = %s", [side.rows[plural][pk]])
                        assert cursor.rowcount >= 1
                    kept = set(model.objects.values_list("pk", flat=True))
                    side.rows[plural] = {
                        key: name for key, name in side.rows[plural].items() if key in kept or key == pk
                    }
        side.forget(plural, pk)

    # What a team tries on another's

    @rule(
        slug=teams, other=teams, plural=plurals, number=picks, method=st.sampled_from(["get", "patch", "put", "delete"])
    )
    def reach_by_rest(self, slug: str, other: str, plural: str, number: int, method: str) -> None:
        pk = self.sides[other].pick(plural, number)
        if slug == other or pk is None:
            return
        answer = self.send(self.sides[slug], method, f"{plural}/{pk}/", {"name": "taken"})
        never = self.send(self.sides[slug], method, f"{plural}/987654321/", {"name": "taken"})
        assert answer.status_code == never.status_code == 404
        assert answer.content.replace(b"%d" % pk, b"") == never.content.replace(b"987654321", b"")

    @rule(slug=teams, other=teams, plural=plurals, number=picks, method=st.sampled_from(["patch", "delete"]))
    def reach_by_list(self, slug: str, other: str, plural: str, number: int, method: str) -> None:
        """With one's own row beside the other's: all or nothing."""
        mine, theirs = self.sides[slug].pick(plural, number), self.sides[other].pick(plural, number)
        if slug == other or mine is None or theirs is None:
            return
        body = [{"id": mine, "name": "taken"}, {"id": theirs, "name": "taken"}]
        answer = self.send(self.sides[slug], method, f"{plural}/", body)
        assert answer.status_code == 400, answer.content
        assert "n-" not in answer.content.decode()

    @rule(slug=teams, other=teams, number=picks)
    def point_to_a_foreign_row(self, slug: str, other: str, number: int) -> None:
        side, site = self.sides[slug], self.sides[other].pick("sites", number)
        if slug == other or site is None:
            return
        answer = self.send(side, "post", "devices/", {"name": side.name(), "site": site})
        assert answer.status_code == 400
        assert list(answer.json()) == ["site"]
        if device := side.pick("devices", number):
            with team_scope(side.team.pk):
                Device.objects.filter(pk=device).update(site_id=site)
                with pytest.raises(IntegrityError), transaction.atomic():
                    connection.check_constraints()
                Device.objects.filter(pk=device).update(site_id=None)

    @rule(slug=teams, other=teams, plural=plurals, number=picks)
    def reach_by_row(self, slug: str, other: str, plural: str, number: int) -> None:
        theirs, model = self.sides[other], KINDS[plural]
        pk = theirs.pick(plural, number)
        if slug == other or pk is None:
            return
        with team_scope(theirs.team.pk):
            row: TeamModel = model.objects.get(pk=pk)
        with team_scope(self.sides[slug].team.pk):
            assert not model.objects.filter(pk=pk).update(name="taken")
            for attempt in (row.save, row.delete, row.refresh_from_db):
                with pytest.raises((DatabaseError, WrongTeam, model.DoesNotExist)), transaction.atomic():
                    attempt()
        with pytest.raises(NoTeamInScope):
            row.delete()

    @rule(slug=teams, other=teams, plural=plurals)
    def reach_by_sql(self, slug: str, other: str, plural: str) -> None:
        if slug == other:
            return
        table, foreign = KINDS[plural]._meta.db_table, self.sides[other].team.pk
        with team_scope(self.sides[slug].team.pk), connection.cursor() as cursor:
            for verb in (f"UPDATE {table} SET name = 'taken'", f"DELETE FROM {table}"):
                cursor.execute(f"{verb} WHERE team_id = %s", [foreign])
                assert cursor.rowcount == 0
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute(
                    "INSERT INTO inventory_site (team_id, name, slug, sort_key) VALUES (%s, 'x', 'x', 'x')", [foreign]
                )

    @rule(slug=teams, plural=plurals)
    def carry_a_queryset(self, slug: str, plural: str) -> None:
        with team_scope(self.sides[slug].team.pk):
            self.carried = [*self.carried[-3:], (slug, KINDS[plural].objects.all())]

    @rule(slug=teams)
    def open_what_was_carried(self, slug: str) -> None:
        for maker, queryset in self.carried:
            if maker != slug:
                with team_scope(self.sides[slug].team.pk):
                    assert list(queryset.all()) == []
            assert list(queryset.all()) == []

    # What a team sees

    @rule(slug=teams, plural=plurals, session=st.booleans(), query=st.sampled_from(QUERIES))
    def look_by_rest(self, slug: str, plural: str, session: bool, query: str) -> None:
        side = self.sides[slug]
        answer = self.send(side, "get", f"{plural}/?limit=0&{query}", session=session).json()
        assert {row["id"]: row["name"] for row in answer["results"]} == side.rows[plural]
        assert answer["count"] in (len(side.rows[plural]), None)

    @rule(slug=teams, plural=plurals)
    def look_by_manager(self, slug: str, plural: str) -> None:
        side, model = self.sides[slug], KINDS[plural]
        with team_scope(side.team.pk):
            assert dict(model.objects.values_list("pk", "name")) == side.rows[plural]
            assert model.objects.count() == len(side.rows[plural])

    @rule(slug=teams)
    def look_at_pages(self, slug: str) -> None:
        side = self.sides[slug]
        html = side.session.get(f"/t/{slug}/devices/").content.decode()
        assert sum(f"/t/{slug}/devices/{pk}/" in html for pk in side.rows["devices"]) == min(
            50, len(side.rows["devices"])
        )
        for other in set(NAMES) - {slug}:
            assert side.session.get(f"/t/{other}/devices/").status_code == 404
            assert other not in html

    @rule(slug=teams)
    def look_at_the_trail(self, slug: str) -> None:
        side = self.sides[slug]
        with team_scope(side.team.pk), connection.cursor() as cursor:
            for plural, model in KINDS.items():
                cursor.execute(f"SELECT pgh_obj_id FROM {model._meta.db_table}auditevent")
                assert {row[0] for row in cursor.fetchall()} <= side.ever[plural]

    @rule(slug=teams)
    def ask_the_definers(self, slug: str) -> None:
        side = self.sides[slug]
        assert [seat.slug for seat in Seat.of_user(side.user.pk)] == [slug]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM netops_due_keys()")
            assert all(isinstance(value, int) for row in cursor.fetchall() for value in row[1:])

    @invariant()
    def each_has_exactly_its_own(self) -> None:
        with connection.cursor() as cursor:
            for side in self.sides.values():
                cursor.execute("SELECT set_config('netops.team', %s, true)", [str(side.team.pk)])
                cursor.execute(EVERYTHING)
                mine = {(plural, *row, side.team.pk) for plural, rows in side.rows.items() for row in rows.items()}
                assert set(cursor.fetchall()) == mine
            cursor.execute("SELECT set_config('netops.team', '', true)")
            cursor.execute(EVERYTHING)
            assert cursor.fetchall() == []


def test_nothing_crosses(db: None) -> None:
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Teams, settings=settings)
