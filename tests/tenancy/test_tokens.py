"""Tokens on the team's page: made with at most one's own role, seen once, revoked at once."""

import re

import pytest
from django.test import Client

from core.scope import team_scope
from tenancy.models import ApiToken, Team, User
from tenancy.services import member_remove, member_set, token_create
from tests.conftest import signed_in

PAGE = "/t/red/team/tokens/"
LIST = "/api/inventory/devices/"


def made(client: Client, **given: str) -> str:
    """The secret that the page shows after making a token; empty where it says what is wrong."""
    html = client.post(PAGE, {"name": "nightly", "role": "viewer", **given}).content.decode()
    found = re.search(r'id="new-token">([0-9a-f]{12}\.[\w-]+)<', html)
    return found[1] if found else ""


def status(token: str, address: str = "127.0.0.1") -> int:
    return Client(REMOTE_ADDR=address).get(LIST, headers={"Authorization": f"Token {token}"}).status_code


def test_the_secret_is_shown_once_and_works(team: Team, alice_client: Client) -> None:
    token = made(alice_client)
    assert status(token) == 200
    html = alice_client.get(PAGE).content.decode()
    assert token.partition(".")[0] in html
    assert token.partition(".")[2] not in html
    assert "by alice" in html
    with team_scope(team.pk):
        row = ApiToken.objects.get()
    assert row.last_used is not None
    assert (row.name, row.role, row.user.username if row.user else "") == ("nightly", "viewer", "alice")


def test_a_revoked_token_is_refused_at_once(team: Team, alice_client: Client) -> None:
    token = made(alice_client)
    with team_scope(team.pk):
        pk = ApiToken.objects.get().pk
    answer = alice_client.post(f"{PAGE}{pk}/revoke/", follow=True)
    assert "The token is revoked." in answer.content.decode()
    assert status(token) == 401
    again = alice_client.post(f"{PAGE}{pk}/revoke/", follow=True)
    assert "revoked already" in again.content.decode()


def test_networks_and_an_end_are_kept(team: Team, alice_client: Client) -> None:
    token = made(alice_client, networks="192.0.2.7/24 2001:db8::/32", expires="2199-01-02T03:04")
    assert status(token) == 401
    assert status(token, "192.0.2.200") == 200
    html = alice_client.get(PAGE).content.decode()
    assert "192.0.2.0/24, 2001:db8::/32" in html
    assert "2199-01-02 03:04 UTC" in html


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "required"),
        ({"role": "king"}, "not one of the available choices"),
        ({"networks": "here"}, "is no network: write it as 192.0.2.0/24"),
        ({"expires": "2001-01-01T00:00"}, "This time has passed"),
        ({"expires": "soon"}, "valid date/time"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    given: dict[str, str], words: str, team: Team, alice_client: Client
) -> None:
    html = (
        alice_client.post(PAGE, {"name": "nightly", "role": "viewer", **given}).content.decode().replace("&#x27;", "'")
    )
    assert words in html
    assert 'class="field-error"' in html
    with team_scope(team.pk):
        assert ApiToken.objects.count() == 0


def test_an_admin_makes_no_owners_token(team: Team, alice: User, bob: User) -> None:
    member_set(team=team, user=bob, role="admin")
    client = signed_in(bob)
    assert 'value="owner"' not in client.get(PAGE).content.decode()
    assert made(client, role="owner") == ""
    assert status(made(client, role="admin")) == 200


def test_a_token_goes_with_its_maker(team: Team, alice: User, bob: User) -> None:
    member_set(team=team, user=bob, role="admin")
    token = made(signed_in(bob), role="admin")
    assert status(token) == 200
    member_remove(team=team, user=bob)
    assert status(token) == 401


def test_another_teams_token_is_out_of_reach(team: Team, other_team: Team, alice_client: Client) -> None:
    token = token_create(team=other_team, role="viewer")
    with team_scope(other_team.pk):
        pk = ApiToken.objects.get().pk
    assert "revoked already" in alice_client.post(f"{PAGE}{pk}/revoke/", follow=True).content.decode()
    assert status(token) == 200
    assert token.partition(".")[0] not in alice_client.get(PAGE).content.decode()
