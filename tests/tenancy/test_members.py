"""Who is in a team and who says so: services and pages of members and of the team itself."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from core.scope import team_scope
from tenancy.models import Membership, Seat, Team, User
from tenancy.services import member_remove, member_set, team_update
from tests.conftest import signed_in

PAGE = "/t/red/team/"


@pytest.fixture
def admin(team: Team) -> User:
    user = User.objects.create_user("erin", "erin@example.org", "correct horse battery")
    member_set(team=team, user=user, role="admin")
    return user


def role_of(user: User, team: Team) -> str | None:
    return next((seat.role for seat in Seat.of_user(user.pk) if seat.team_id == team.pk), None)


def membership(user: User, team: Team) -> int:
    with team_scope(team.pk):
        return Membership.objects.get(user=user).pk


def said(client: Client, url: str, **data: str) -> str:
    """The page after a POST, with what it says came of it."""
    answer = client.post(url, data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_last_owner_is_neither_demoted_nor_removed(team: Team, alice: User, bob: User) -> None:
    with pytest.raises(ValidationError, match="alice is the last owner: make another member owner first"):
        member_set(team=team, user=alice, role="admin")
    with pytest.raises(ValidationError, match="last owner"):
        member_remove(team=team, user=alice)
    assert role_of(alice, team) == "owner"
    member_set(team=team, user=bob, role="owner")
    member_set(team=team, user=alice, role="viewer")
    assert role_of(alice, team) == "viewer"
    with pytest.raises(ValidationError, match="bob is the last owner"):
        member_remove(team=team, user=bob)


def test_the_last_owner_may_be_made_owner_again(team: Team, alice: User) -> None:
    member_set(team=team, user=alice, role="owner")
    assert role_of(alice, team) == "owner"


@pytest.mark.parametrize("role", ["owner", "admin", "operator", "viewer"])
def test_an_admin_makes_everybody_but_owners(role: str, team: Team, alice: User, bob: User) -> None:
    if role == "owner":
        with pytest.raises(ValidationError, match="The role owner is above yours"):
            member_set(team=team, user=bob, role=role, by="admin")
        assert role_of(bob, team) == "viewer"
    else:
        member_set(team=team, user=bob, role=role, by="admin")
        assert role_of(bob, team) == role


def test_an_admin_leaves_owners_alone(team: Team, alice: User, bob: User) -> None:
    member_set(team=team, user=bob, role="owner")
    with pytest.raises(ValidationError, match="above yours"):
        member_set(team=team, user=bob, role="viewer", by="admin")
    with pytest.raises(ValidationError, match="above yours"):
        member_remove(team=team, user=bob, by="admin")
    assert role_of(bob, team) == "owner"


def test_a_role_that_is_none_is_named(team: Team, bob: User) -> None:
    with pytest.raises(ValidationError, match="'king' is not a role: use one of viewer, operator, admin, owner"):
        member_set(team=team, user=bob, role="king")


def test_who_is_no_member_cannot_be_removed(team: Team, alice: User, charlie: User) -> None:
    with pytest.raises(ValidationError, match="charlie is not a member"):
        member_remove(team=team, user=charlie)
    assert role_of(charlie, Team.objects.get(slug="blue")) == "owner"


def test_only_an_owner_renames_the_team(team: Team) -> None:
    with pytest.raises(ValidationError, match="Only an owner renames the team"):
        team_update(team=team, name="Mine", by="admin")
    with pytest.raises(ValidationError, match="name"):
        team_update(team=team, name="  ", by="owner")
    team_update(team=team, name=" Crimson ", by="owner")
    team.refresh_from_db()
    assert (team.name, team.slug) == ("Crimson", "red")


def test_a_viewer_sees_members_and_nothing_to_change(team: Team, alice: User, bob_client: Client) -> None:
    html = bob_client.get(PAGE).content.decode()
    assert "alice" in html
    assert "alice@example.org" not in html
    assert "Invite" not in html
    assert "Remove" not in html
    assert "Leave this team" in html
    assert "/team/tokens/" not in html


@pytest.mark.parametrize(
    "path",
    ["", "members/{}/", "members/{}/remove/", "invitations/1/again/", "invitations/1/withdraw/", "tokens/",
     "tokens/1/revoke/", "settings/"],
)  # fmt: skip
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_below_admin_nothing_can_be_changed(path: str, role: str, team: Team, alice: User, bob: User) -> None:
    member_set(team=team, user=bob, role=role)
    answer = signed_in(bob).post(PAGE + path.format(membership(alice, team)), {"role": "viewer"})
    assert answer.status_code == 403
    assert "Your role does not allow this" in answer.content.decode()
    assert role_of(alice, team) == "owner"


def test_the_secrets_pages_are_for_admins(team: Team, bob_client: Client) -> None:
    assert bob_client.get(f"{PAGE}tokens/").status_code == 403
    assert bob_client.get(f"{PAGE}settings/").status_code == 403


def test_an_owner_changes_a_role_on_the_page(team: Team, alice_client: Client, bob: User) -> None:
    html = said(alice_client, f"{PAGE}members/{membership(bob, team)}/", role="operator")
    assert "bob is now operator." in html
    assert role_of(bob, team) == "operator"


def test_the_page_says_why_the_last_owner_stays(team: Team, alice_client: Client, alice: User) -> None:
    html = said(alice_client, f"{PAGE}members/{membership(alice, team)}/", role="viewer")
    assert "alice is the last owner: make another member owner first." in html
    assert "alice is the last owner" in said(alice_client, f"{PAGE}leave/")
    assert role_of(alice, team) == "owner"


def test_an_admin_sees_owners_without_a_form(team: Team, alice: User, bob: User, admin: User) -> None:
    html = signed_in(admin).get(PAGE).content.decode()
    assert "Save the role of bob" in html
    assert "Save the role of alice" not in html
    assert "Remove alice" not in html
    assert 'value="owner"' not in html


def test_an_admin_who_posts_for_an_owner_all_the_same_is_refused(team: Team, alice: User, admin: User) -> None:
    client = signed_in(admin)
    assert "is above yours" in said(client, f"{PAGE}members/{membership(alice, team)}/", role="viewer")
    assert "is above yours" in said(client, f"{PAGE}members/{membership(alice, team)}/remove/")
    assert "is above yours" in said(client, f"{PAGE}members/{membership(admin, team)}/", role="owner")
    assert (role_of(alice, team), role_of(admin, team)) == ("owner", "admin")


def test_a_removed_member_is_out_at_the_next_request(
    team: Team, alice_client: Client, bob: User, bob_client: Client
) -> None:
    assert bob_client.get("/t/red/").status_code == 200
    said(alice_client, f"{PAGE}members/{membership(bob, team)}/remove/")
    assert bob_client.get("/t/red/").status_code == 404
    assert bob_client.get("/api/inventory/devices/").status_code == 400


def test_a_member_leaves(team: Team, alice: User, bob: User, bob_client: Client) -> None:
    assert "You have left Red team." in said(bob_client, f"{PAGE}leave/")
    assert role_of(bob, team) is None


def test_a_member_of_another_team_is_not_found(team: Team, alice_client: Client, charlie: User) -> None:
    other = membership(charlie, Team.objects.get(slug="blue"))
    assert alice_client.post(f"{PAGE}members/{other}/", {"role": "viewer"}).status_code == 404
    assert alice_client.post(f"{PAGE}members/{other}/remove/").status_code == 404
    assert role_of(charlie, Team.objects.get(slug="blue")) == "owner"


def test_an_outsider_finds_no_team_page(team: Team, charlie_client: Client) -> None:
    for path in ("", "tokens/", "settings/"):
        assert charlie_client.get(PAGE + path).status_code == 404


def test_an_owner_renames_on_the_page(team: Team, alice_client: Client, admin: User) -> None:
    assert "The team has its new name." in said(alice_client, f"{PAGE}settings/", name="Crimson")
    assert "Only an owner renames" in signed_in(admin).get(f"{PAGE}settings/").content.decode()
    signed_in(admin).post(f"{PAGE}settings/", {"name": "Theirs"})
    assert Team.objects.get(slug="red").name == "Crimson"


def test_get_changes_nothing(team: Team, alice_client: Client, bob: User) -> None:
    pk = membership(bob, team)
    for path in (f"members/{pk}/", f"members/{pk}/remove/", "leave/", "tokens/1/revoke/", "invitations/1/withdraw/"):
        assert alice_client.get(PAGE + path).status_code == 405
    assert role_of(bob, team) == "viewer"


def test_the_part_of_the_page_that_members_live_in_can_be_fetched_alone(team: Team, bob_client: Client) -> None:
    html = bob_client.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert html.startswith('<div id="members"')
    assert "<html" not in html


def test_the_operator_makes_teams(alice: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("team", "Night Shift", "--owner", "alice")
    assert capsys.readouterr().out.strip() == "/t/night-shift/"
    assert [(seat.slug, seat.role) for seat in Seat.of_user(alice.pk)] == [("night-shift", "owner"), ("red", "owner")]
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("team", "Other", "--owner", "nobody")
    with pytest.raises(CommandError, match="slug"):
        call_command("team", "Red", "--owner", "alice")
    assert not Team.objects.filter(name="Other").exists()
