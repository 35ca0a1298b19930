"""The audit trail: which models leave one, through which doors, and how it is read."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import ProgrammingError, connection, models, transaction
from django.test import Client

from consoles.log_models import ConsoleLogSettings
from consoles.models import ConsoleFar, ConsoleLock, ConsoleOutlet
from core.scope import acting, team_scope
from inventory.models import Device, Interface, Site, TopologySource
from netops.walls import team_models
from probing.models import Campaign, CampaignTarget
from tenancy.audit import AuditEvent
from tenancy.models import Membership, Team, TeamModel, User
from tenancy.services import token_create
from tenancy.trail import Entry, Wanted, all_entries, entries, trails
from tests.rows import campaign_rows, lab_rows
from tests.teams import Rows
from ticketing.models import Incident, Ticket

# Configuration and workflow. What is measured or heard (probe rows, heartbeats, what routers announce) has no trail.
TRACKED = {
    "agents.agent",
    "agents.enrolmenttoken",
    "agents.legacytoken",
    "consoles.consolelock",
    "consoles.consolelogsettings",
    "consoles.consolerule",
    "consoles.consolefar",
    "consoles.consoleoutlet",
    "consoles.consoleport",
    "inventory.device",
    "inventory.devicerole",
    "inventory.devicetype",
    "inventory.endpoint",
    "inventory.interface",
    "inventory.link",
    "inventory.manufacturer",
    "inventory.platform",
    "inventory.site",
    "inventory.topologysource",
    "probing.campaign",
    "probing.campaigntarget",
    "tenancy.adminvisit",
    "tenancy.apitoken",
    "tenancy.invitation",
    "tenancy.membership",
    "tenancy.sshkeychange",
    "ticketing.desk",
    "ticketing.incident",
    "ticketing.ticket",
}
UNTRACKED = {
    "agents.agentboot",
    "agents.agentstream",
    "consoles.consolecursor",
    "consoles.consoleline",
    "consoles.consolematch",
    "consoles.consoleticket",
    "consoles.consoletyped",
    "consoles.consolevisit",
    "inventory.halflink",
    "inventory.inventoryimport",
    "inventory.prefix",
    "inventory.topology",
    "inventory.topologyevent",
    "inventory.topologyupdate",
    "probing.agentplan",
    "probing.path",
    "probing.pathminute",
    "probing.reportbatch",
    "ticketing.incidentevent",
    "ticketing.ticketoperation",
}


def newest(**wanted: Any) -> Entry:
    return entries(Wanted(**wanted), limit=1)[0]


def told(entry: Entry) -> dict[str, tuple[Any, Any]]:
    return {change.field: (change.before, change.after) for change in entry.changes}


def test_every_team_model_is_tracked_or_on_the_list_of_those_that_are_not() -> None:
    known = {model._meta.label_lower for model in team_models() if not issubclass(model, AuditEvent)}
    assert set(trails()) == TRACKED
    assert known - TRACKED == UNTRACKED


def test_no_tracked_field_changes_by_itself() -> None:
    """Heartbeats and counters would drown what people do."""
    names = {f"{label}.{each.name}" for label, event in trails().items() for each in event._meta.fields}
    beats = {
        "heard",
        "run",
        "last_seen",
        "online",
        "epoch",
        "last_used",
        "uses_left",
        "planned_version",
        "verdict",
        "lease_until",
    }
    assert not {name for name in names if name.rpartition(".")[2] in beats}


@pytest.fixture
def rows(team: Team) -> Rows:
    return Rows(team, "theirs").all()


def _changeable(model: type[TeamModel]) -> models.Field[Any, Any]:
    """A tracked field of text or number that can be given another value."""
    event = trails()[model._meta.label_lower]
    names = {each.name for each in event._meta.fields}
    simple = [each for each in model._meta.concrete_fields if each.name in names - {"id", "team"}]
    for kinds in ((models.CharField, models.TextField), (models.IntegerField, models.DateTimeField)):
        for each in simple:
            if isinstance(each, kinds):
                return each
    return next(each for each in simple if isinstance(each, models.ForeignKey))


def _another(field: models.Field[Any, Any], value: Any, rows: Rows) -> Any:
    if isinstance(field, models.ForeignKey):
        other = Rows(rows.team, "other").all()
        return other[field.related_model].pk
    if field.choices:
        return next(key for key, _ in field.choices if key != value)
    if isinstance(field, models.GenericIPAddressField):
        return "203.0.113.77"
    return value + timedelta(days=1) if hasattr(value, "year") else value + 1 if isinstance(value, int) else "changed"


@pytest.mark.parametrize("label", sorted(TRACKED))
@pytest.mark.parametrize("way", ["save", "bulk", "raw"])
def test_every_tracked_model_says_who_changed_it_from_what_to_what(label: str, way: str, rows: Rows) -> None:
    """By the model, by a queryset, by plain SQL: the trail is the same."""
    model: Any = apps.get_model(label)
    with acting(door="page", user=rows.person.pk, name=rows.person.username, request="r1"), team_scope(rows.team.pk):
        row = model.objects.get(pk=rows[model].pk)
        field = _changeable(model)
        before = getattr(row, field.attname)
        after = _another(field, before, rows)
        if way == "save":
            setattr(row, field.attname, after)
            row.save(update_fields=[field.name])
        elif way == "bulk":
            model.objects.filter(pk=row.pk).update(**{field.attname: after})
        else:
            with connection.cursor() as cursor:
                cursor.execute(f'UPDATE "{model._meta.db_table}" SET "{field.column}" = %s', [after])
        entry = newest(model=label, object=row.pk)
    assert (entry.action, entry.who, entry.door, entry.context["request"]) == (
        "update", rows.person.username, "page", "r1",
    )  # fmt: skip
    was, now = told(entry)[field.name]
    assert was != now
    if isinstance(before, str):
        assert (was, now) == (before, after)


@pytest.mark.parametrize("label", sorted(TRACKED))
def test_every_tracked_model_says_who_made_and_who_deleted_it(label: str, team: Team) -> None:
    model: Any = apps.get_model(label)
    with acting(door="api", name="maker"), team_scope(team.pk):
        rows = Rows(team, "made").all()
        # What others need cannot be deleted; what may be there only once can, and cannot be made again.
        once = (ConsoleFar, ConsoleLock, ConsoleLogSettings, ConsoleOutlet)
        leaves = (CampaignTarget, Membership, Incident, Ticket, *once)
        row = rows[model] if model in leaves else rows.make(model, **({"source": None} if model is Device else {}))
    made = _one_of(row, "insert", "maker", "api")
    with acting(door="admin", name="remover"), team_scope(team.pk):
        model.objects.filter(pk=row.pk).delete()
    gone = _one_of(row, "delete", "remover", "admin")
    assert {name: after for name, (_, after) in told(made).items()} == {
        name: before for name, (before, _) in told(gone).items()
    }


def _one_of(row: Any, action: str, who: str, door: str) -> Entry:
    """The newest event of `row`, which must be this."""
    with team_scope(row.team_id):
        entry = newest(model=row._meta.label_lower, object=row.pk, action=action)
    assert (entry.who, entry.door) == (who, door)
    return entry


def test_what_the_network_says_leaves_a_trail_only_where_people_changed_it(scope: Team) -> None:
    lab = lab_rows()
    assert not entries(Wanted(model="inventory.device"))
    device = lab.devices["R1"]
    Device.objects.filter(pk=device.pk).update(up=False)
    assert not entries(Wanted(model="inventory.device"))
    device.serial = "JN1234"
    device.save()
    assert told(newest(model="inventory.device")) == {"serial": ("", "JN1234")}
    made = Interface.objects.create(device=device, name="xe-0/0/1", learned=False)
    assert told(newest(model="inventory.interface", object=made.pk))["device"] == (None, "R1")


def test_one_transaction_is_told_in_the_order_it_happened(scope: Team) -> None:
    site = Site.objects.create(name="Berlin", slug="berlin", sort_key="b")
    campaign = campaign_rows(lab_rows())
    site.name = "Hamburg"
    site.save()
    assert [entry.model for entry in entries(Wanted(), limit=3)] == [
        "inventory.site",
        "probing.campaigntarget",
        "probing.campaign",
    ]
    assert newest(model="probing.campaigntarget").title == campaign.name


# The doors, each by what really comes through it.


def test_a_page_says_who(alice_client: Client, alice: User, bob: User, team: Team) -> None:
    with team_scope(team.pk):
        seat = Membership.objects.get(user=bob)
    answer = alice_client.post(f"/t/red/team/members/{seat.pk}/", {"role": "operator"}, headers={"X-Request-ID": "a-1"})
    assert answer.status_code == 302
    assert answer["X-Request-ID"] == "a-1"
    with team_scope(team.pk):
        entry = newest()
    assert (entry.who, entry.door, entry.title) == ("alice", "page", "bob")
    assert entry.context["request"] == "a-1"
    assert told(entry)["role"] == ("viewer", "operator")


@pytest.mark.parametrize("hostile", ["", "a b", "x" * 65, "<script>", "é"])
def test_a_request_id_that_is_no_plain_word_is_replaced(hostile: str, alice_client: Client) -> None:
    answer = alice_client.get("/t/red/", headers={"X-Request-ID": hostile})
    assert answer["X-Request-ID"] != hostile
    assert answer["X-Request-ID"].isalnum()


def test_the_api_says_which_token(client: Client, alice: User, team: Team) -> None:
    token = token_create(team=team, role="admin", user=alice, name="robot")
    answer = client.post(
        "/api/inventory/endpoints/",
        {"name": "far", "address": "192.0.2.9"},
        content_type="application/json",
        headers={"Authorization": f"Token {token}"},
    )
    assert answer.status_code == 201, answer.content
    with team_scope(team.pk):
        entry = newest(model="inventory.endpoint")
    assert (entry.who, entry.door, entry.context["user"]) == ("alice, token robot", "api", alice.pk)
    assert entry.context["request"] == answer["X-Request-ID"]
    assert token.partition(".")[2] not in str(entry)


def test_the_api_says_which_user_of_a_session(alice_client: Client, team: Team) -> None:
    answer = alice_client.post(
        "/api/inventory/endpoints/", {"name": "far", "address": "192.0.2.9"}, content_type="application/json"
    )
    assert answer.status_code == 201, answer.content
    with team_scope(team.pk):
        assert (newest().who, newest().door) == ("alice", "api")


def test_a_task_says_which(team: Team) -> None:
    from core import drain
    from core.tasks import drain as task

    class Rename:
        name = "rename"

        def run(self, team_id: int, key_id: int) -> int:
            with team_scope(team_id):
                return Site.objects.filter(pk=key_id).update(name="Hamburg")

    with team_scope(team.pk):
        site = Site.objects.create(name="Berlin", slug="berlin", sort_key="b")
    drain.register(Rename())
    try:
        task("rename", team.pk, site.pk)
    finally:
        del drain._registry["rename"]
    with team_scope(team.pk):
        assert (newest().who, newest().door, told(newest())) == ("rename", "task", {"name": ("Berlin", "Hamburg")})


def test_every_task_of_celery_says_its_name(team: Team) -> None:
    from netops.celery import app

    @app.task(name="somewhere.tidy")
    def tidy() -> None:
        with team_scope(team.pk):
            Site.objects.create(name="Berlin", slug="berlin", sort_key="b")

    tidy()
    del app.tasks["somewhere.tidy"]
    with team_scope(team.pk):
        assert (newest().who, newest().door) == ("tidy", "task")


@pytest.mark.django_db(transaction=True)
def test_a_command_says_who_called_it(
    team: Team, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import manage

    monkeypatch.setattr(sys, "argv", ["manage.py", "apitoken", "red"])
    manage.main()
    with team_scope(team.pk):
        entry = newest(model="tenancy.apitoken")
    assert entry.door == "command"
    assert entry.who
    assert capsys.readouterr().out.strip().partition(".")[2] not in str(entry)


@pytest.mark.django_db(transaction=True)
def test_a_link_says_which_agent(team: Team) -> None:
    from agents.link import in_thread

    def work(*, agent_id: int) -> None:
        Site.objects.create(name="Berlin", slug="berlin", sort_key="b")

    asyncio.run(in_thread(team.pk, work, agent_id=7))
    with team_scope(team.pk):
        assert (newest().who, newest().door) == ("agent 7", "agent")


def test_plain_sql_of_nobody_is_told_too(scope: Team) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pghistory.context_metadata', '', true)")
        cursor.execute(
            "INSERT INTO inventory_site (team_id, name, slug, sort_key) VALUES (%s, 'x', 'x', 'x')", [scope.pk]
        )
    assert (newest().who, newest().door) == ("the database", "")


# The walls around it.


@pytest.mark.parametrize("event", trails().values(), ids=trails())
def test_what_is_written_stays(event: type[AuditEvent], rows: Rows) -> None:
    with team_scope(rows.team.pk):
        assert event.objects.exists()
        for sql in (f'DELETE FROM "{event._meta.db_table}"', f"UPDATE \"{event._meta.db_table}\" SET pgh_label = 'x'"):
            with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
                connection.cursor().execute(sql)


def test_no_team_reads_of_anothers(rows: Rows, other_team: Team, charlie: User) -> None:
    with acting(door="page", user=charlie.pk, name="charlie"):
        Rows(other_team, "foreign").all()
    with team_scope(rows.team.pk):
        everything = entries(Wanted(), limit=1000)
        assert everything
        assert "foreign" not in str(everything)
        assert "charlie" not in str(everything)
        assert not entries(Wanted(who="charlie"))
        assert not entries(Wanted(q="foreign"))


# Reading it.


def test_filters(team: Team, alice: User) -> None:
    with acting(door="page", user=alice.pk, name="alice"), team_scope(team.pk):
        site = Site.objects.create(name="Berlin (100% up)", slug="berlin", sort_key="b")
    with acting(door="task", name="tidy"), team_scope(team.pk):
        Site.objects.update(name="Hamburg")
    with acting(door="api", user=alice.pk, token=1, token_name="robot"), team_scope(team.pk):
        Site.objects.all().delete()
    with team_scope(team.pk):

        def actions(**given: str) -> list[str]:
            return [entry.action for entry in entries(Wanted.parse({"model": "inventory.site", **given}))]

        assert actions() == ["delete", "update", "insert"]
        assert actions(action="update") == ["update"]
        assert actions(door="task") == ["update"]
        assert actions(who="ALICE") == ["delete", "insert"]
        assert actions(who="robot") == ["delete"]
        assert actions(who="tidy") == ["update"]
        assert actions(q="100% UP") == ["update", "insert"]
        assert actions(q=".*") == []
        assert actions(q='"') == []
        assert actions(object=str(site.pk)) == ["delete", "update", "insert"]
        assert actions(object=str(site.pk + 1)) == []
        times = [entry.at for entry in entries(Wanted(model="inventory.site"))]
        assert actions(since=times[1].isoformat()) == ["delete", "update"]
        assert actions(until=times[1].isoformat()) == ["insert"]
        assert actions(since="2001-01-01", until="2001-01-02T03:04") == []
        assert actions(until="2001-01-02T03:04+23:07") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "inventory.halflink"),
        ("model", "x' OR 1=1"),
        ("object", "1; DROP"),
        ("object", "9" * 30),
        ("object", "٣"),
        ("action", "INSERT"),
        ("door", "window"),
        ("since", "yesterday"),
        ("until", "2026-13-45"),
        ("until", "0001-01-01T00:00+23:00"),
        ("q", "a\0b"),
    ],
)
def test_a_filter_that_means_nothing_is_named(name: str, value: str) -> None:
    given = {"model": "inventory.site", name: value}
    with pytest.raises(ValidationError) as raised:
        Wanted.parse(given)
    assert set(raised.value.message_dict) == {name}


def test_an_object_without_its_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="name both"):
        Wanted.parse({"object": "3"})


def test_pages_go_on_where_the_last_ended(rows: Rows) -> None:
    with team_scope(rows.team.pk):
        whole = [entry.key for entry in entries(Wanted(), limit=1000)]
        assert len(whole) == len(set(whole)) > 30
        for size in (1, 3, 7):
            after, seen = "", []
            while page := entries(Wanted(), start=after, limit=size):
                assert len(page) <= size
                seen += [entry.key for entry in page]
                after = page[-1].key
            assert seen == whole
        for size in (1, 7, len(whole) - 1, len(whole), len(whole) + 1):
            pieces = list(all_entries(Wanted(), piece=size))
            assert all(pieces)
            assert [entry.key for piece in pieces for entry in piece] == whole


def test_events_of_the_same_moment_are_each_told_once(scope: Team) -> None:
    """The time alone does not say where a page ended: tables and rows may share it."""
    moment = "2026-01-01 00:00:00+00"
    with connection.cursor() as cursor:
        for table in ("inventory_siteauditevent", "inventory_platformauditevent", "inventory_deviceroleauditevent"):
            for number in (1, 2, 3):
                cursor.execute(
                    f"INSERT INTO {table} (pgh_created_at, pgh_label, pgh_obj_id, team_id, id, name, slug"
                    f") VALUES (%s, 'insert', %s, %s, %s, 'n', 's')",
                    [moment, number, scope.pk, number],
                )
    after, seen = "", []
    while page := entries(Wanted(), start=after, limit=2):
        seen += [(entry.model, entry.object) for entry in page]
        after = page[-1].key
    assert len(seen) == len(set(seen)) == 9


@pytest.mark.parametrize(
    "key", ["x", "1.2", "1.2.inventory.halflink", "99999999999999999999.1.inventory.site", "1.2.3"]
)
def test_a_key_that_is_none_is_refused(key: str, scope: Team) -> None:
    with pytest.raises(ValidationError, match="no key of the trail"):
        entries(Wanted(), start=key)


def test_names_are_those_of_now_or_what_is_left_of_them(scope: Team) -> None:
    lab = lab_rows()
    site = Site.objects.create(name="Berlin", slug="berlin", sort_key="b")
    device = lab.devices["R1"]
    device.site = site
    device.save()
    site.name = "Hamburg"
    site.save()
    assert told(newest(model="inventory.device"))["site"] == (None, "Hamburg")
    pk = site.pk
    device.site = None
    device.save()
    site.delete()
    assert told(newest(model="inventory.device"))["site"] == (f"site {pk}", None)


def test_a_page_of_it_takes_the_same_queries_whatever_it_holds(rows: Rows, django_assert_num_queries: Any) -> None:
    with team_scope(rows.team.pk):
        for limit in (20, 50, 200):
            with django_assert_num_queries(2):
                entries(Wanted(), limit=limit)


def test_secrets_of_sources_do_not_reach_it(scope: Team) -> None:
    source = TopologySource.objects.create(name="r", host="192.0.2.1", password="hunter2-in-clear")
    source.password = "another-secret"
    source.save()
    assert newest(model="inventory.topologysource").action == "insert"
    Campaign.objects.all().delete()
    assert "secret" not in str(entries(Wanted()))
