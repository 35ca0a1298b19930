"""Sign-in, sign-out, and the way to a team."""

import pytest
from django.test import Client

from tenancy.models import Team, User
from tenancy.services import member_set
from tests.conftest import signed_in

PASSWORD = "correct horse battery"


def sign_in(username: str, password: str, following: str = "") -> "tuple[int, str, str]":
    answer = Client().post("/sign-in/", {"login": username, "password": password, "next": following})
    return answer.status_code, answer.headers.get("Location", ""), answer.content.decode()


def test_alice_signs_in_and_comes_to_her_team(alice: User) -> None:
    assert sign_in("alice", PASSWORD)[:2] == (302, "/")
    answer = signed_in(alice).get("/")
    assert answer.headers["Location"] == "/t/red/"


def test_the_page_asked_for_comes_after_sign_in(alice: User) -> None:
    assert sign_in("alice", PASSWORD, "/t/red/links/")[:2] == (302, "/t/red/links/")
    assert sign_in("alice", PASSWORD, "https://example.org/")[:2] == (302, "/")


@pytest.mark.parametrize(("username", "password"), [("alice", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_look_alike(username: str, password: str, alice: User) -> None:
    status, _, html = sign_in(username, password)
    assert status == 200
    assert "That name and password do not match." in html
    assert html.count('aria-describedby="sign-in-error"') == 2
    assert "User name or e-mail</label>" in html
    assert password not in html


def test_empty_fields_get_a_sentence(db: None) -> None:
    assert "Enter both your user name and your password." in sign_in("", "")[2]


def test_sign_in_needs_the_csrf_token(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/sign-in/", {"login": "alice", "password": PASSWORD})
    assert answer.status_code == 403
    assert "This form has expired" in answer.content.decode()


def test_sign_out_is_a_post(alice_client: Client) -> None:
    assert alice_client.get("/sign-out/").status_code == 405
    assert alice_client.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert alice_client.get("/t/red/").status_code == 302


def test_who_is_in_no_team_is_told_what_to_do(db: None) -> None:
    answer = signed_in(User.objects.create_user("dave")).get("/")
    assert answer.status_code == 200
    assert "You are not in a team yet" in answer.content.decode()


def test_the_home_page_needs_sign_in(db: None) -> None:
    assert Client().get("/").headers["Location"] == "/sign-in/?next=/"


def test_a_user_of_two_teams_can_switch(alice: User, other_team: Team) -> None:
    member_set(team=other_team, user=alice, role="viewer")
    html = signed_in(alice).get("/t/red/").content.decode()
    assert 'href="/t/blue/"' in html
    assert "viewer" in html
