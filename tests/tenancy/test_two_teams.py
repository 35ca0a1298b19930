"""Three teams do random things through every door, with the same names; each always has exactly what it made."""

import csv
import io
import os
import re
from itertools import permutations
from typing import Any

import hypothesis
import pytest
from django.core.cache import cache
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core.scope import NoTeamInScope, team_scope
from inventory.models import Device, Endpoint
from tenancy.base import TeamModel, WrongTeam
from tenancy.models import Seat
from tests.tenancy.sides import FILES, KINDS, LABELS, NAMES, Side

EVERYTHING = " UNION ALL ".join(
    f"SELECT '{plural}', id, name, team_id FROM {model._meta.db_table}" for plural, model in KINDS.items()
)
# 2,000 operations in `make test`, 100,000 in `make test-long`.
OPERATIONS, STEPS = 100_000 if os.environ.get("NETOPS_LONG") else 2_000, 100

# A query, and the text that is in each name it finds.
QUERIES = {"": "", "start=0": "", "q=n": "n", "name__ic=N-": "n-", "q=N-1": "n-1"}
# What some rows refer to: by which field, of which kind.
REFERS = {"devices": ("site", "sites"), "interfaces": ("device", "devices"), "campaigns": ("targets", "endpoints")}
# Pages with a link for each row; what answers as NetBox.
PAGES = {"devices": "devices/?q=n", "campaigns": "", "tokens": "team/tokens/"}
NETBOX = ("sites", "devices", "interfaces")

teams = st.sampled_from(NAMES)
pairs = st.sampled_from(list(permutations(NAMES, 2)))
plurals = st.sampled_from(list(KINDS))
renamed = st.sampled_from([plural for plural in KINDS if plural != "tokens"])
picks = st.integers(0, 50)


class Teams(RuleBasedStateMachine):
    sides: dict[str, Side]
    done = 0

    def __init__(self) -> None:
        super().__init__()
        self.undo = transaction.atomic()
        self.undo.__enter__()
        for side in self.sides.values():
            side.start()
        Teams.done -= 1  # the invariant is held against the start too
        self.carried: list[tuple[str, Any]] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)
        cache.clear()

    # What a team does with its own

    @rule(slug=teams, plural=plurals, number=picks)
    def create_by_service(self, slug: str, plural: str, number: int) -> None:
        side = self.sides[slug]
        if (values := side.body(plural, number)) is None:
            return
        with team_scope(side.team.pk):
            row = side.make(plural, values)
        side.have(plural, row.pk, values["name"])

    @rule(slug=teams, plural=plurals, number=picks, session=st.booleans(), many=st.integers(0, 3))
    def create_by_rest(self, slug: str, plural: str, number: int, session: bool, many: int) -> None:
        side = self.sides[slug]
        bodies = [body for _ in range(many or 1) if (body := side.body(plural, number))]
        if bodies:
            answer = side.send("post", f"{plural}/", bodies if many else bodies[0], session=session)
            assert answer.status_code == 201, answer.content
            for row in answer.json() if many else [answer.json()]:
                side.have(plural, row["id"], row["name"])

    @rule(slug=teams)
    def create_in_bulk(self, slug: str) -> None:
        side = self.sides[slug]
        with team_scope(side.team.pk):
            names = [side.name(), side.name()]
            rows = Endpoint.objects.bulk_create(
                [Endpoint(name=name, sort_key=name, address="192.0.2.9") for name in names]
            )
        for row in rows:
            side.have("endpoints", row.pk, row.name)

    @rule(slug=teams, plural=renamed, number=picks, session=st.booleans(), listed=st.booleans())
    def rename_by_rest(self, slug: str, plural: str, number: int, session: bool, listed: bool) -> None:
        side = self.sides[slug]
        if (pk := side.pick(plural, number)) is None:
            return
        name = side.name()
        path, body = (f"{plural}/", [{"id": pk, "name": name}]) if listed else (f"{plural}/{pk}/", {"name": name})
        answer = side.send("patch", path, body, session=session)
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
        if pk is None or (plural, pk) in side.kept or (plural == "sites" and how == "sql"):
            return
        if how in ("rest", "list"):
            path, body = (f"{plural}/{pk}/", None) if how == "rest" else (f"{plural}/", [{"id": pk}])
            answer = side.send("delete", path, body)
            assert answer.status_code in ((204, 409) if plural == "sites" else (204,)), answer.content
            if answer.status_code == 409:
                return
        else:
            with team_scope(side.team.pk):
                if plural == "sites":
                    Device.objects.filter(site_id=pk).update(site=None)
                if how == "instance":
                    model.objects.get(pk=pk).delete()
                elif how == "manager" or plural in ("devices", "campaigns"):
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

    @rule(pair=pairs, plural=renamed, number=picks, method=st.sampled_from(["get", "patch", "put", "delete"]))
    def reach_by_rest(self, pair: tuple[str, str], plural: str, number: int, method: str) -> None:
        side, pk = self.sides[pair[0]], self.sides[pair[1]].pick(plural, number)
        if pk is None:
            return
        answer = side.send(method, f"{plural}/{pk}/", {"name": "taken"})
        never = side.send(method, f"{plural}/987654321/", {"name": "taken"})
        assert answer.status_code == never.status_code == 404
        assert answer.content.replace(b"%d" % pk, b"") == never.content.replace(b"987654321", b"")

    @rule(pair=pairs, plural=plurals, number=picks, method=st.sampled_from(["patch", "delete"]))
    def reach_by_list(self, pair: tuple[str, str], plural: str, number: int, method: str) -> None:
        """With one's own row beside the other's: all or nothing."""
        side = self.sides[pair[0]]
        mine, theirs = side.pick(plural, number), self.sides[pair[1]].pick(plural, number)
        if mine is None or theirs is None:
            return
        body = [{"id": mine, "name": "taken"}, {"id": theirs, "name": "taken"}]
        answer = side.send("delete" if plural == "tokens" else method, f"{plural}/", body)
        assert answer.status_code == 400, answer.content
        assert answer.json()[1] == {"id": [f"There is no row with the id {theirs}."]}

    @rule(pair=pairs, plural=st.sampled_from(list(REFERS)), number=picks)
    def point_to_a_foreign_row(self, pair: tuple[str, str], plural: str, number: int) -> None:
        side, (field, kind) = self.sides[pair[0]], REFERS[plural]
        if (foreign := self.sides[pair[1]].pick(kind, number)) is None:
            return
        body = (side.body(plural, number) or {"name": "x"}) | {field: [foreign] if kind == "endpoints" else foreign}
        answer = side.send("post", f"{plural}/", body)
        assert answer.status_code == 400
        assert list(answer.json()) == [field]
        if plural == "devices" and (device := side.pick(plural, number)):
            with team_scope(side.team.pk):
                Device.objects.filter(pk=device).update(site_id=foreign)
                with pytest.raises(IntegrityError), transaction.atomic():
                    connection.check_constraints()
                Device.objects.filter(pk=device).update(site_id=None)

    @rule(pair=pairs, plural=plurals, number=picks)
    def reach_by_row(self, pair: tuple[str, str], plural: str, number: int) -> None:
        theirs, model = self.sides[pair[1]], KINDS[plural]
        if (pk := theirs.pick(plural, number)) is None:
            return
        with team_scope(theirs.team.pk):
            row: TeamModel = model.objects.get(pk=pk)
        with team_scope(self.sides[pair[0]].team.pk):
            assert not model.objects.filter(pk=pk).update(name="taken")
            for attempt in (row.save, row.delete, row.refresh_from_db):
                with pytest.raises((DatabaseError, WrongTeam, model.DoesNotExist)), transaction.atomic():
                    attempt()
        with pytest.raises(NoTeamInScope):
            row.delete()

    @rule(pair=pairs, plural=plurals)
    def reach_by_sql(self, pair: tuple[str, str], plural: str) -> None:
        table, foreign = KINDS[plural]._meta.db_table, self.sides[pair[1]].team.pk
        with team_scope(self.sides[pair[0]].team.pk), connection.cursor() as cursor:
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

    @rule(slug=teams, plural=plurals, session=st.booleans(), netbox=st.booleans(), query=st.sampled_from(list(QUERIES)))
    def look_by_rest(self, slug: str, plural: str, session: bool, netbox: bool, query: str) -> None:
        side = self.sides[slug]
        path = f"/netbox/api/dcim/{plural}/" if netbox and plural in NETBOX else f"{plural}/"
        answer = side.send("get", f"{path}?limit=0&{query}", session=session).json()
        wanted = {pk: name for pk, name in side.rows[plural].items() if QUERIES[query] in name}
        assert {row["id"]: row["name"] for row in answer["results"]} == wanted
        assert answer["count"] in (len(wanted), None)

    @rule(slug=teams, plural=plurals)
    def look_by_manager(self, slug: str, plural: str) -> None:
        side, model = self.sides[slug], KINDS[plural]
        with team_scope(side.team.pk):
            assert dict(model.objects.values_list("pk", "name")) == side.rows[plural]
            assert model.objects.count() == len(side.rows[plural])

    @rule(pair=pairs, plural=st.sampled_from(list(PAGES)), foreign=st.booleans())
    def look_at_pages(self, pair: tuple[str, str], plural: str, foreign: bool) -> None:
        (slug, other), side = pair, self.sides[pair[0]]
        if foreign:
            assert side.session.get(f"/t/{other}/{PAGES[plural]}").status_code == 404
            return
        html = side.saved(f"/t/{slug}/{PAGES[plural]}")
        shown = {int(pk) for pk in re.findall(rf"/t/{slug}/(?:team/)?{plural}/(\d+)/", html)}
        assert shown <= side.rows[plural].keys()
        assert len(shown) == min(50, len(side.rows[plural]))
        assert side.tells(html)

    @rule(slug=teams, plural=st.sampled_from(["devices", "interfaces"]))
    def save_as_csv(self, slug: str, plural: str) -> None:
        side = self.sides[slug]
        text = side.saved(f"/t/{slug}/export/{plural}.csv")
        assert {int(row["id"]): row["name"] for row in csv.DictReader(io.StringIO(text))} == side.rows[plural]
        assert side.tells(text)

    @rule(pair=pairs, plural=plurals, number=picks, form=st.sampled_from(["api", "html", *FILES]))
    def look_at_the_trail(self, pair: tuple[str, str], plural: str, number: int, form: str) -> None:
        """All of it: files are whole, lists show the newest. And what another did, by name or by object: nothing."""
        side, other = self.sides[pair[0]], self.sides[pair[1]]
        own, person = f"model={LABELS[plural]}", other.user.username
        foreign = [f"{own}&who={person}", f"{own}&q={person}", *(f"{own}&object={pk}" for pk in other.rows[plural])]
        known = ["", own, own, own, *foreign]
        asked = known[number % len(known)]
        found = side.trail("api" if form == "html" and asked in foreign else form, asked)
        assert bool(found) != (asked in foreign)
        for kind in [] if asked in foreign else [plural] if asked else KINDS:
            told = found.get(LABELS[kind], set())
            assert told == side.ever[kind] if form in FILES else told <= side.ever[kind]

    @rule(slug=teams)
    def ask_the_definers(self, slug: str) -> None:
        side = self.sides[slug]
        assert [seat.slug for seat in Seat.of_user(side.user.pk)] == [slug]
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM netops_due_keys()")
            assert all(isinstance(value, int) for row in cursor.fetchall() for value in row[1:])
            cursor.execute("SELECT netops_search('device', 'n', 1000)")
            assert cursor.fetchall() == [([],)]

    @invariant()
    def each_has_exactly_its_own(self) -> None:
        Teams.done += 1
        here = {str(side.team.pk): side for side in self.sides.values()}
        asked = (f"SELECT set_config('netops.team', '{team}', true); EXECUTE everything" for team in [*here, ""])
        with connection.cursor() as cursor:
            cursor.execute(";".join(asked))
            for team, side in here.items():
                cursor.nextset()
                mine = {(plural, *row, int(team)) for plural, rows in side.rows.items() for row in rows.items()}
                assert set(cursor.fetchall()) == mine
                cursor.nextset()
            cursor.nextset()
            assert cursor.fetchall() == []


def test_nothing_crosses(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"PREPARE everything AS {EVERYTHING}")
    Teams.sides = {slug: Side(slug) for slug in NAMES}
    # Again until there are enough: how many steps an example has is Hypothesis' choice.
    while Teams.done < OPERATIONS:
        settings = hypothesis.settings(
            max_examples=(OPERATIONS - Teams.done) // STEPS + 1,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        run_state_machine_as_test(Teams, settings=settings)
