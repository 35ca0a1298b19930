"""REST of the team itself: who may see and change what, and what is shown once."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client

from core.scope import team_scope
from tenancy.models import ApiToken, Invitation, Membership, Team, User
from tenancy.services import member_set, token_create

API = "/api/tenancy"


def call(client: Client, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = getattr(client, method)(f"{API}/{path}", body, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def bearer(team: Team, role: str, user: User | None = None) -> Client:
    return Client(headers={"Authorization": f"Bearer {token_create(team=team, role=role, user=user)}"})


def test_a_team_shows_itself_alone(alice_client: Client, charlie_client: Client, bob: User) -> None:
    (red,) = call(alice_client, "get", "teams/")["results"]
    assert (red["slug"], red["name"]) == ("red", "Red team")
    assert [team["slug"] for team in call(charlie_client, "get", "teams/")["results"]] == ["blue"]
    call(charlie_client, "get", f"teams/{red['id']}/", status=404)
    call(charlie_client, "patch", f"teams/{red['id']}/", {"name": "Mine"}, 404)
    assert call(alice_client, "patch", f"teams/{red['id']}/", {"name": "Crimson"})["name"] == "Crimson"


def test_only_an_owner_renames_the_team(team: Team, alice: User) -> None:
    answer = call(bearer(team, "admin"), "patch", f"teams/{team.pk}/", {"name": "Mine"}, 400)
    assert answer == {"name": ["Only an owner renames the team: ask one."]}


def test_members_are_seen_by_all_and_changed_by_admins(alice_client: Client, bob_client: Client, bob: User) -> None:
    rows = call(bob_client, "get", "members/")["results"]
    assert {row["user"]["username"]: row["role"]["value"] for row in rows} == {"alice": "owner", "bob": "viewer"}
    his = next(row for row in rows if row["user"]["username"] == "bob")
    call(bob_client, "patch", f"members/{his['id']}/", {"role": "admin"}, 403)
    assert call(alice_client, "patch", f"members/{his['id']}/", {"role": "operator"})["role"]["label"] == "Operator"
    call(alice_client, "delete", f"members/{his['id']}/", status=204)
    assert bob_client.get(f"{API}/members/").status_code == 400


def test_the_last_owner_stays_and_admins_make_no_owners(
    team: Team, alice: User, bob: User, alice_client: Client
) -> None:
    with team_scope(team.pk):
        ids = {row.user_id: row.pk for row in Membership.objects.all()}
    assert "last owner" in str(call(alice_client, "delete", f"members/{ids[alice.pk]}/", status=400))
    admin = bearer(team, "admin")
    for pk, role in ((ids[bob.pk], "owner"), (ids[alice.pk], "viewer")):
        assert "above yours" in str(call(admin, "patch", f"members/{pk}/", {"role": role}, 400))
    with team_scope(team.pk):
        assert Membership.objects.get(user=alice).role == "owner"


def test_an_invitation_is_mailed_and_its_link_shown_once(alice_client: Client, bob_client: Client, team: Team) -> None:
    call(bob_client, "get", "invitations/", status=403)
    made = call(alice_client, "post", "invitations/", {"email": "Dave@example.org", "role": "viewer"}, 201)
    assert made["link"] in mail.outbox[0].body
    assert mail.outbox[0].to == ["dave@example.org"]
    shown = call(alice_client, "get", f"invitations/{made['id']}/")
    assert "link" not in shown
    assert shown["invited_by"]["username"] == "alice"
    assert "digest" not in shown
    again = call(alice_client, "post", "invitations/", {"email": "dave@example.org", "role": "viewer"}, 400)
    assert "invited already" in again["email"][0]
    call(alice_client, "delete", f"invitations/{made['id']}/", status=204)
    with team_scope(team.pk):
        assert not Invitation.objects.exists()


def test_a_token_is_shown_once_and_works(alice_client: Client, team: Team) -> None:
    asked = {"name": "deploy", "role": "operator", "networks": ["127.0.0.1"]}
    made = call(alice_client, "post", "tokens/", asked, 201)
    client = Client(headers={"Authorization": f"Token {made['token']}"})
    assert call(client, "get", "teams/")["count"] == 1
    assert call(client, "get", "tokens/", status=403)["detail"].startswith("This needs 'team.admin'")
    shown = call(alice_client, "get", f"tokens/{made['id']}/")
    assert "token" not in shown
    assert made["token"].partition(".")[2] not in str(shown)
    assert (shown["networks"], shown["user"]["username"]) == (["127.0.0.1/32"], "alice")
    call(alice_client, "delete", f"tokens/{made['id']}/", status=204)
    assert client.get(f"{API}/teams/").status_code == 401


def test_a_token_makes_none_above_itself(team: Team, alice: User) -> None:
    admin = bearer(team, "admin", alice)
    assert "above yours" in str(call(admin, "post", "tokens/", {"name": "x", "role": "owner"}, 400))
    assert call(admin, "post", "tokens/", {"name": "x", "role": "admin"}, 201)["user"]["username"] == "alice"
    with team_scope(team.pk):
        assert ApiToken.objects.filter(role="owner").count() == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [({"role": "king"}, "role"), ({"networks": ["x"]}, "networks"), ({"expires": "2001-01-01T00:00:00Z"}, "expires"),
     ({"name": ""}, "name"), ({"key": "x", "digest": "y"}, "digest"), ({"networks": "10.0.0.0/8"}, "networks")],
)  # fmt: skip
def test_a_bad_token_is_refused_by_field(alice_client: Client, change: dict[str, Any], field: str, team: Team) -> None:
    assert list(call(alice_client, "post", "tokens/", {"name": "x", "role": "viewer"} | change, 400)) == [field]
    with team_scope(team.pk):
        assert ApiToken.objects.count() == 0


def test_an_outsider_reaches_nothing_of_it(charlie_client: Client, team: Team, alice: User, bob: User) -> None:
    token_create(team=team, role="viewer", user=alice, name="secretname")
    with team_scope(team.pk):
        token, member = ApiToken.objects.get().pk, Membership.objects.get(user=bob).pk
    assert call(charlie_client, "get", "tokens/")["count"] == 0
    call(charlie_client, "delete", f"tokens/{token}/", status=404)
    call(charlie_client, "delete", f"members/{member}/", status=404)
    for query in ("user=alice", f"user_id={alice.pk}", "q=alice", "user__n=zed"):
        shown = call(charlie_client, "get", f"members/?{query}")["results"]
        assert [row["user"]["username"] for row in shown if row["user"]["username"] != "charlie"] == []
    with team_scope(team.pk):
        assert Membership.objects.count() == 2


def test_who_is_in_two_teams_names_one(alice: User, alice_client: Client, other_team: Team) -> None:
    member_set(team=other_team, user=alice, role="viewer")
    assert alice_client.get(f"{API}/teams/").status_code == 400
    named = alice_client.get(f"{API}/teams/", headers={"X-Team": "blue"}).json()
    assert [team["slug"] for team in named["results"]] == ["blue"]
