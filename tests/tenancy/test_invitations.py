"""The link by mail: who gets it, what it opens, how often, and that nothing else does."""

import re
import smtplib
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from core.scope import team_scope
from tenancy import services
from tenancy.models import Invitation, Membership, Seat, Team, User
from tests.conftest import signed_in

PAGE = "/t/red/team/"
NEW = {"username": "dave", "password": "correct horse battery"}


@pytest.fixture
def secret(team: Team, alice: User) -> str:
    return services.invitation_create(team=team, email="Dave@Example.org", role="operator", invited_by=alice)


def only(team: Team) -> Invitation:
    with team_scope(team.pk):
        return Invitation.objects.get()


def seats(user: User) -> list[tuple[str, str]]:
    return [(seat.slug, seat.role) for seat in Seat.of_user(user.pk)]


def test_the_secret_is_kept_as_a_digest_and_for_seven_days(team: Team, secret: str) -> None:
    with team_scope(team.pk):
        stored = Invitation.objects.values().get()
    assert secret not in str(stored)
    assert stored["digest"] == services.token_digest(secret)
    assert stored["email"] == "dave@example.org"
    assert timedelta(days=6, hours=23) < stored["expires"] - timezone.now() <= timedelta(days=7)


def test_get_asks_and_changes_nothing(secret: str, team: Team, bob_client: Client) -> None:
    for client in (Client(), bob_client):
        html = client.get(f"/invitations/{secret}/").content.decode()
        assert "Join Red team" in html
        assert "alice" in html
        assert "operator" in html
    assert only(team).email == "dave@example.org"


def test_a_new_person_chooses_name_and_password_and_is_in(secret: str, team: Team) -> None:
    client = Client()
    answer = client.post(f"/invitations/{secret}/", NEW)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/t/red/")
    assert client.get("/t/red/").status_code == 200
    dave = User.objects.get(username="dave")
    assert seats(dave) == [("red", "operator")]
    assert dave.email == "dave@example.org"
    # The page shows the link to the inviter too: holding it does not prove that the address is one's own.
    assert EmailAddress.objects.get(user=dave).verified is False
    assert Client().post("/sign-in/", {"login": "dave@example.org", "password": NEW["password"]}).status_code == 302


def test_a_signed_in_person_joins_as_they_are(secret: str, team: Team, charlie: User) -> None:
    client = signed_in(charlie)
    assert "Join as charlie" in client.get(f"/invitations/{secret}/").content.decode()
    answer = client.post(f"/invitations/{secret}/", follow=True)
    assert "You are now in Red team." in answer.content.decode()
    assert seats(charlie) == [("blue", "owner"), ("red", "operator")]


def test_a_link_is_good_once(secret: str, team: Team, charlie: User) -> None:
    signed_in(charlie).post(f"/invitations/{secret}/")
    answer = Client().post(f"/invitations/{secret}/", NEW)
    assert answer.status_code == 404
    assert "This invitation is no longer good" in answer.content.decode()
    assert not User.objects.filter(username="dave").exists()


def test_an_unknown_link_and_an_old_one_look_alike(secret: str, team: Team) -> None:
    with team_scope(team.pk):
        Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))
    old, unknown = Client().get(f"/invitations/{secret}/"), Client().get("/invitations/nothing/")
    assert old.status_code == unknown.status_code == 404
    assert old.content == unknown.content
    with pytest.raises(ValidationError, match="ask for a new one"):
        services.invitation_accept(secret=secret, user=User.objects.get(username="alice"))


def test_who_is_a_member_keeps_the_higher_role(team: Team, alice: User, bob: User) -> None:
    for user, role in ((alice, "owner"), (bob, "operator")):
        link = services.invitation_create(team=team, email="x@example.org", role="operator", invited_by=alice)
        services.invitation_accept(secret=link, user=user)
        assert seats(user) == [("red", role)]


@pytest.mark.parametrize(
    ("username", "password", "words"),
    [
        ("alice", NEW["password"], "already exists"),
        ("dave", "short", "too short"),
        ("dave", "password123", "too common"),
        ("no spaces", NEW["password"], "valid username"),
        ("", NEW["password"], "required"),
    ],
)
def test_what_is_wrong_stands_beside_the_field_and_spends_nothing(
    username: str, password: str, words: str, secret: str, team: Team
) -> None:
    answer = Client().post(f"/invitations/{secret}/", {"username": username, "password": password})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert f'value="{password}"' not in answer.content.decode()
    assert only(team).email == "dave@example.org"
    assert User.objects.count() == 1


def test_joining_needs_the_csrf_token(secret: str, team: Team, charlie: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(charlie)
    assert client.post(f"/invitations/{secret}/").status_code == 403
    assert seats(charlie) == [("blue", "owner")]


def test_the_page_mails_the_link_and_shows_it_once(team: Team, alice_client: Client) -> None:
    answer = alice_client.post(PAGE, {"email": "dave@example.org", "role": "viewer"})
    html = answer.content.decode()
    link = re.search(r'id="invitation-link">(http[^<]+)<', html)
    assert link
    assert "on its way to dave@example.org" in html
    [message] = mail.outbox
    assert message.to == ["dave@example.org"]
    assert message.subject == "Join Red team on netops"
    assert link[1] in message.body
    assert "alice invites you" in message.body
    again = alice_client.get(PAGE).content.decode()
    assert link[1] not in again
    assert "dave@example.org" in again
    assert Client().get(link[1].partition("/invitations")[1] + link[1].partition("/invitations")[2]).status_code == 200


def test_without_a_mail_server_the_link_is_still_there(
    team: Team, alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    html = alice_client.post(PAGE, {"email": "dave@example.org", "role": "viewer"}).content.decode()
    assert "The mail to dave@example.org could not be sent: give them the link below yourself." in html
    assert 'id="invitation-link"' in html
    assert only(team).email == "dave@example.org"


def test_sending_again_makes_a_new_link_and_kills_the_old(secret: str, team: Team, alice_client: Client) -> None:
    html = alice_client.post(f"{PAGE}invitations/{only(team).pk}/again/").content.decode()
    link = re.search(r'id="invitation-link">http[^<]+(/invitations/[^<]+)<', html)
    assert link
    assert Client().get(f"/invitations/{secret}/").status_code == 404
    assert Client().get(link[1]).status_code == 200
    assert link[1] in mail.outbox[0].body


def test_a_withdrawn_link_is_dead(secret: str, team: Team, alice_client: Client) -> None:
    pk = only(team).pk
    answer = alice_client.post(f"{PAGE}invitations/{pk}/withdraw/", follow=True)
    assert "The invitation is withdrawn" in answer.content.decode()
    assert Client().get(f"/invitations/{secret}/").status_code == 404
    answer = alice_client.post(f"{PAGE}invitations/{pk}/withdraw/", follow=True)
    assert "accepted or withdrawn" in answer.content.decode()


@pytest.mark.parametrize(
    ("email", "words"),
    [
        ("bob@example.org", "is a member already"),
        ("DAVE@example.org", "is invited already"),
        ("no address", "valid email"),
        ("", "required"),
    ],
)
def test_who_cannot_be_invited(
    email: str, words: str, secret: str, team: Team, bob: User, alice_client: Client
) -> None:
    html = alice_client.post(PAGE, {"email": email, "role": "viewer"}).content.decode()
    assert words in html
    assert 'id="invitation-link"' not in html
    assert mail.outbox == []
    assert only(team).email == "dave@example.org"


def test_a_member_of_another_team_can_be_invited_without_a_word_about_it(
    team: Team, alice_client: Client, charlie: User
) -> None:
    html = alice_client.post(PAGE, {"email": "charlie@example.org", "role": "viewer"}).content.decode()
    assert "on its way" in html
    assert "Blue" not in html


def test_an_admin_cannot_invite_an_owner(team: Team, alice: User) -> None:
    with pytest.raises(ValidationError, match="above yours"):
        services.invitation_create(team=team, email="x@example.org", role="owner", invited_by=alice, by="admin")
    services.invitation_create(team=team, email="x@example.org", role="owner", invited_by=alice)
    with pytest.raises(ValidationError, match="above yours"):
        services.invitation_renew(team=team, pk=only(team).pk, by="admin")
    with pytest.raises(ValidationError, match="above yours"):
        services.invitation_withdraw(team=team, pk=only(team).pk, by="admin")
    assert only(team).role == "owner"


def test_another_teams_invitation_is_out_of_reach(secret: str, team: Team, other_team: Team, charlie: User) -> None:
    client, pk = signed_in(charlie), only(team).pk
    for path in ("again", "withdraw"):
        answer = client.post(f"/t/blue/team/invitations/{pk}/{path}/", follow=True)
        assert "accepted or withdrawn" in answer.content.decode()
    assert only(team).digest == services.token_digest(secret)


def test_the_trail_says_who_joined_and_never_the_secret(secret: str, team: Team) -> None:
    Client().post(f"/invitations/{secret}/", NEW)
    with team_scope(team.pk):
        events = Membership.pgh_event_model.objects.values().order_by("-pgh_id")  # type: ignore[attr-defined]
        joined = events[0]
        spoken = str(list(Invitation.pgh_event_model.objects.values()))  # type: ignore[attr-defined]
    assert joined["role"] == "operator"
    assert joined["pgh_context"]["name"] == "dave"
    assert secret not in spoken
    assert services.token_digest(secret) not in spoken


def test_there_is_no_other_way_to_sign_up(db: None) -> None:
    for path in ("/accounts/signup/", "/account/signup/", "/sign-up/", "/signup/", "/account/login/"):
        assert Client().get(path).status_code == 404
        assert Client().post(path, NEW).status_code in (403, 404)
    assert User.objects.count() == 0
