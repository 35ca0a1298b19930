"""/admin/: for superusers, in one chosen team at a time, and the team sees it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from core.scope import team_scope
from netops.admin import TeamAdmin, site
from tenancy.models import AdminVisit, ApiToken, Invitation, Membership, Team, User
from tenancy.trail import Entry, Wanted, entries
from tests.conftest import signed_in
from tests.teams import Rows
from ticketing.models import Desk

TEAM_MODELS = [model for model, shown in site._registry.items() if isinstance(shown, TeamAdmin)]


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", "correct horse battery")


@pytest.fixture
def admin(root: User) -> Client:
    return signed_in(root)


@pytest.fixture
def in_red(admin: Client, team: Team) -> Client:
    assert admin.post("/admin/team/", {"team": "red"}).status_code == 302
    return admin


def trail(team: Team, **wanted: str) -> list[Entry]:
    with team_scope(team.pk):
        return entries(Wanted(door="admin", **wanted))  # type: ignore[arg-type]


def where(model: type, end: str, *arguments: object) -> str:
    meta = model._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{end}", args=arguments)


def said(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


@pytest.mark.parametrize("path", ["", "team/", "tenancy/user/", "tenancy/membership/", "nowhere/", "ticketing/desk/1/"])
def test_who_gets_in(path: str, client: Client, alice_client: Client, root: User) -> None:
    answer = client.get(f"/admin/{path}")
    assert answer.status_code == 302
    assert answer["Location"] == f"/sign-in/?next=/admin/{path}"
    assert alice_client.get(f"/admin/{path}").status_code == 404
    staff = User.objects.create_user("staff", password="correct horse battery", is_staff=True)
    assert signed_in(staff).get(f"/admin/{path}").status_code == 404
    assert alice_client.post("/admin/team/", {"team": "red"}).status_code == 404


def test_who_is_no_superuser_any_more_is_out(in_red: Client, root: User) -> None:
    User.objects.filter(pk=root.pk).update(is_superuser=False)
    assert in_red.get("/admin/").status_code == 404
    assert in_red.get(where(Membership, "changelist")).status_code == 404


@pytest.mark.parametrize("path", ["login/", "logout/", "password_change/"])
def test_there_is_no_second_way_to_sign_in(path: str, admin: Client, client: Client) -> None:
    assert admin.get(f"/admin/{path}").status_code == 404
    assert admin.post(f"/admin/{path}", {"username": "root", "password": "x"}).status_code == 404


def test_without_a_team_only_the_installation_can_be_reached(admin: Client, team: Team, alice: User) -> None:
    shown = said(admin, "/admin/")
    assert "Working in no team" in shown
    assert set(re.findall(r'"/admin/(\w+/\w+)/"', shown)) == {"tenancy/user", "tenancy/team"}
    assert "alice" in said(admin, where(User, "changelist"))
    for model in TEAM_MODELS:
        for path in (where(model, "changelist"), where(model, "change", 1), where(model, "add")):
            answer = admin.get(path)
            assert (answer.status_code, answer["Location"]) == (302, "/admin/"), path


def test_choosing_a_team_is_seen_in_it(admin: Client, team: Team, alice: User, root: User) -> None:
    assert admin.get("/admin/team/").status_code == 405
    assert not trail(team)
    admin.post("/admin/team/", {"team": "red"})
    (visit,) = trail(team)
    assert (visit.who, visit.action, visit.model, visit.title) == ("root", "insert", "tenancy.adminvisit", "root")
    assert "root" in signed_in(alice).get("/t/red/audit/?door=admin").content.decode()
    shown = said(admin, "/admin/")
    assert "Working in team <strong>Red team</strong>" in shown
    assert "/admin/ticketing/desk/" in shown
    admin.post("/admin/team/", {"team": ""})
    assert "Working in no team" in said(admin, "/admin/")
    admin.post("/admin/team/", {"team": "nowhere"})
    assert "There is no team &#x27;nowhere&#x27;" in said(admin, "/admin/")


def test_the_choice_needs_a_form_of_ours(root: User, team: Team) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    assert client.post("/admin/team/", {"team": "red"}).status_code == 403
    with team_scope(team.pk):
        assert not AdminVisit.objects.exists()


@pytest.mark.parametrize("model", TEAM_MODELS, ids=lambda model: model.__name__)
def test_every_table_of_the_team_can_be_looked_at(model: type, in_red: Client, team: Team, other_team: Team) -> None:
    mine, theirs = Rows(team, "ours").all(), Rows(other_team, "foreign").all()
    row, foreign = mine[model], theirs[model]
    listed = said(in_red, where(model, "changelist"))
    assert str(row.pk) in listed
    assert "foreign" not in listed
    assert said(in_red, where(model, "change", row.pk))
    assert in_red.get(where(model, "change", foreign.pk)).status_code in (302, 404)
    assert "foreign" not in in_red.get(where(model, "change", foreign.pk), follow=True).content.decode().replace(
        "foreign-", ""
    )
    if model not in (Membership,):
        assert in_red.get(where(model, "add")).status_code == 403
        assert in_red.post(where(model, "change", row.pk), {"name": "x"}).status_code == 403
    if model not in (Membership, Invitation, ApiToken):
        assert in_red.post(where(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_secrets_are_not_shown(in_red: Client, team: Team) -> None:
    secrets: dict[str, str] = {"password": "hunter2-in-clear"}
    with team_scope(team.pk):
        desk = Desk(name="noc", driver="email", secrets=secrets)  # type: ignore[misc]
        desk.save()
        token = Rows(team, "x").all()[ApiToken]
    shown = said(in_red, where(Desk, "change", desk.pk))
    assert "noc" in shown
    assert "hunter2" not in shown
    assert token.digest not in said(in_red, where(ApiToken, "change", token.pk))


def test_members_are_changed_by_the_service(in_red: Client, team: Team, alice: User, bob: User) -> None:
    with team_scope(team.pk):
        seats = {seat.user_id: seat.pk for seat in Membership.objects.all()}
    assert in_red.post(where(Membership, "change", seats[bob.pk]), {"role": "admin"}).status_code == 302
    newest = trail(team)[0]
    assert (newest.who, newest.title, newest.context["request"] != "") == ("root", "bob", True)
    assert [(each.field, each.before, each.after) for each in newest.changes] == [("role", "viewer", "admin")]
    # The last owner stays, and the page says why.
    for end, body in (("change", {"role": "viewer"}), ("delete", {"post": "yes"})):
        answer = in_red.post(where(Membership, end, seats[alice.pk]), body, follow=True)
        assert "Alice is the last owner" in answer.content.decode()
    assert in_red.post(where(Membership, "delete", seats[bob.pk]), {"post": "yes"}).status_code == 302
    carol = User.objects.create_user("carol")
    added = in_red.post(where(Membership, "add"), {"user": carol.pk, "role": "operator"})
    assert added.status_code == 302
    with team_scope(team.pk):
        assert set(Membership.objects.values_list("user__username", "role")) == {
            ("alice", "owner"), ("carol", "operator"),
        }  # fmt: skip
    assert [entry.action for entry in trail(team, model="tenancy.membership")] == ["insert", "delete", "update"]
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("model", [Invitation, ApiToken])
def test_invitations_and_tokens_can_be_taken_back(model: type, in_red: Client, team: Team) -> None:
    row = Rows(team, "x").all()[model]
    assert in_red.post(where(model, "delete", row.pk), {"post": "yes"}).status_code == 302
    (entry,) = trail(team, model=model._meta.label_lower)  # type: ignore[attr-defined]
    assert (entry.who, entry.action) == ("root", "delete")
    assert not LogEntry.objects.exists()


def test_people_and_teams_are_made_and_changed_but_not_deleted(admin: Client, team: Team, alice: User) -> None:
    made = admin.post(where(Team, "add"), {"slug": "green", "name": "Green team"})
    assert made.status_code == 302, made.content
    green = Team.objects.get(slug="green")
    admin.post(where(Team, "change", green.pk), {"name": "Greens", "slug": "other"})
    green.refresh_from_db()
    assert (green.name, green.slug) == ("Greens", "green")
    assert admin.post(where(Team, "delete", green.pk), {"post": "yes"}).status_code == 403
    assert admin.post(where(User, "delete", alice.pk), {"post": "yes"}).status_code == 403
    changed = admin.post(where(User, "change", alice.pk), {"username": "alice", "email": "a@example.org"})
    assert changed.status_code == 302, changed.content
    alice.refresh_from_db()
    assert not alice.is_active
    assert admin.get(where(User, "history", alice.pk)).status_code == 404
    assert not LogEntry.objects.exists()


class Inline(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and not names.get("src") and names.get("type") != "application/json"):
            self.refused.append(tag)
        self.refused += [name for name in names if name.startswith("on") or name == "style"]


def test_its_pages_obey_the_content_security_policy(in_red: Client, team: Team, alice: User) -> None:
    for path in ("/admin/", where(User, "change", alice.pk), where(Membership, "add"), where(Membership, "changelist")):
        answer = in_red.get(path)
        assert "default-src 'self'" in answer["Content-Security-Policy"]
        assert not Inline(answer.content.decode()).refused, path


def test_a_superuser_is_made_on_the_command_line(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    call_command("createsuperuser", interactive=False, username="chief", email="chief@example.org", verbosity=0)
    answer = client.post("/sign-in/?next=/admin/", {"login": "chief", "password": "correct horse battery"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert "Working in no team" in said(client, "/admin/")
