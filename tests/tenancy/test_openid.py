"""Signing in through the organisation's OpenID provider, end to end against a stand-in for one."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.test import Client

from netops import settings as netops_settings
from tenancy.models import Seat, Team, User
from tenancy.services import invitation_create
from tests.tenancy.openid import StandInProvider, stand_in_provider


@pytest.fixture
def provider(settings: Any, monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[StandInProvider]:
    """Configured as an operator does it: by the environment alone."""
    with stand_in_provider() as provider:
        given = {"NAME": "Example Corp", "SERVER": provider.url, "CLIENT_ID": provider.client_id}
        for name, value in {**given, "SECRET": provider.secret}.items():
            monkeypatch.setenv(f"NETOPS_OIDC_{name}", value)
        apps = netops_settings._openid_apps()
        known: dict[str, Any] = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {**known, "APPS": apps}}
        yield provider


def through(client: Client, provider: StandInProvider, following: str = "") -> Any:
    """What a browser does after a click on the button: to the provider, and back with what it gave."""
    answer = client.get(f"/sign-in/sso/?next={following}" if following else "/sign-in/sso/")
    assert answer.status_code == 302, answer.content
    there = urlsplit(answer.headers["Location"])
    connection = http.client.HTTPConnection(there.netloc)
    connection.request("GET", f"{there.path}?{there.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    return client.get(f"{back.path}?{back.query}", follow=True)


def test_without_configuration_there_is_no_button_and_no_door(client: Client, db: None) -> None:
    assert "Sign in with" not in client.get("/sign-in/").content.decode()
    assert client.get("/sign-in/sso/").status_code == 404


def test_half_a_configuration_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETOPS_OIDC_SERVER", "https://sso.example.org")
    with pytest.raises(SystemExit):
        netops_settings._openid_apps()
    assert "set both, or neither" in capsys.readouterr().err


def test_an_unknown_person_gets_an_account_without_teams(provider: StandInProvider, client: Client) -> None:
    provider.claims = {"sub": "77", "preferred_username": "dave", "email": "dave@example.org", "email_verified": True}
    assert "Sign in with Example Corp" in client.get("/sign-in/").content.decode()
    page = through(client, provider)
    assert "You are not in a team yet" in page.content.decode()
    dave = User.objects.get(username="dave")
    assert Seat.of_user(dave.pk) == []
    assert not dave.has_usable_password()
    assert not dave.is_staff
    assert not dave.is_superuser
    assert EmailAddress.objects.get(user=dave).verified
    assert SocialApp.objects.count() == 0
    assert {"/authorize", "/token"} <= set(provider.seen)


def test_the_same_person_comes_back_to_the_same_account(provider: StandInProvider) -> None:
    provider.claims = {"sub": "77", "preferred_username": "dave", "email": "dave@example.org", "email_verified": True}
    through(Client(), provider)
    provider.claims |= {"email": "dave.new@example.org", "preferred_username": "david"}
    through(Client(), provider)
    assert User.objects.count() == 1
    assert SocialAccount.objects.get().uid == "77"


def test_the_page_asked_for_comes_after_and_no_other_site(provider: StandInProvider, alice: User) -> None:
    SocialAccount.objects.create(user=alice, provider="sso", uid="1")
    assert through(Client(), provider, "/t/red/links/").redirect_chain[0][0] == "/t/red/links/"
    assert through(Client(), provider, "https://example.org/").redirect_chain[0][0] == "/"


def test_an_invitation_is_accepted_by_whoever_signs_in_this_way(
    provider: StandInProvider, team: Team, alice: User, client: Client
) -> None:
    provider.claims = {"sub": "77", "preferred_username": "dave", "email": "dave@example.org", "email_verified": True}
    secret = invitation_create(team=team, email="dave@example.org", role="operator", invited_by=alice)
    page = through(client, provider, f"/invitations/{secret}/")
    assert "Join as dave" in page.content.decode()
    assert "You are now in Red team." in client.post(f"/invitations/{secret}/", follow=True).content.decode()
    assert [(seat.slug, seat.role) for seat in Seat.of_user(User.objects.get(username="dave").pk)] == [
        ("red", "operator")
    ]


@pytest.mark.parametrize(
    ("here", "there", "joined"), [(True, True, True), (True, False, False), (False, True, False), (False, False, False)]
)
def test_only_an_address_confirmed_on_both_sides_is_the_same_person(
    here: bool, there: bool, joined: bool, provider: StandInProvider, alice: User, client: Client
) -> None:
    EmailAddress.objects.create(user=alice, email="alice@example.org", primary=True, verified=here)
    provider.claims = {"sub": "9", "preferred_username": "ally", "email": "Alice@Example.org", "email_verified": there}
    html = through(client, provider).content.decode()
    if joined:
        assert SocialAccount.objects.get().user == alice
        assert User.objects.count() == 1
        assert "Red team" in html
    else:
        stranger = User.objects.get(username="ally")
        assert SocialAccount.objects.get().user == stranger
        assert stranger.email == ""
        assert Seat.of_user(stranger.pk) == []
        assert "You are not in a team yet" in html
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_a_taken_name_is_not_taken_over(provider: StandInProvider, alice: User, client: Client) -> None:
    provider.claims = {"sub": "9", "preferred_username": "alice", "email": "other@example.org", "email_verified": True}
    through(client, provider)
    stranger = SocialAccount.objects.get().user
    assert stranger != alice
    assert stranger.username != "alice"


def test_who_cancels_there_is_back_at_sign_in(provider: StandInProvider, client: Client) -> None:
    provider.claims = None
    page = through(client, provider)
    assert page.redirect_chain[-1][0] == "/sign-in/"
    assert "Example Corp did not sign you in" in page.content.decode()
    assert User.objects.count() == 0


@pytest.mark.parametrize("query", ["?code=x&state=y", "?code=x", "", "?error=server_error&state=y"])
def test_an_answer_that_nobody_asked_for_signs_nobody_in(query: str, provider: StandInProvider, client: Client) -> None:
    page = client.get(f"/sign-in/sso/callback/{query}", follow=True)
    assert page.redirect_chain[-1][0] == "/sign-in/"
    assert User.objects.count() == 0
    assert "/token" not in provider.seen


def test_a_code_of_another_browser_signs_nobody_in(provider: StandInProvider) -> None:
    """The state lives in the session: a link with somebody else's code is refused (login CSRF)."""
    there = urlsplit(Client().get("/sign-in/sso/").headers["Location"])
    connection = http.client.HTTPConnection(there.netloc)
    connection.request("GET", f"{there.path}?{there.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    page = Client().get(f"{back.path}?{back.query}", follow=True)
    assert page.redirect_chain[-1][0] == "/sign-in/"
    assert User.objects.count() == 0


def test_a_wrong_client_secret_is_said_without_an_account(
    provider: StandInProvider, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "secret", "another")
    page = through(client, provider)
    assert "Example Corp did not sign you in" in page.content.decode()
    assert User.objects.count() == 0
