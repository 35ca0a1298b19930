"""One's own account: throttle, second factor, recovery codes, sessions, password and address."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client

from tenancy.models import User
from tests.tenancy.test_pages import PASSWORD
from tests.totp import code_for

AGENT = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"


def signed_in_by_typing(login: str = "alice", password: str = PASSWORD, **headers: str) -> Client:
    client = Client(headers=headers or None)
    assert client.post("/sign-in/", {"login": login, "password": password}).status_code == 302
    return client


def with_second_factor(client: Client) -> tuple[str, list[str]]:
    """Switch it on by the pages; the key and the recovery codes."""
    assert client.get("/account/two-factor/").headers["Location"].startswith("/account/confirm/")
    answer = client.post("/account/confirm/?next=/account/two-factor/", {"password": PASSWORD}, follow=True)
    html = answer.content.decode()
    key = re.search(r'id="totp-key">([A-Z2-7]+)<', html)
    assert key
    assert 'src="data:image/svg+xml;base64,' in html
    answer = client.post("/account/two-factor/", {"code": code_for(key[1])}, follow=True)
    codes = re.findall(r"<li><code>(\d+)</code></li>", answer.content.decode())
    assert len(codes) == 10
    return key[1], codes


def second_step(code: str, following: str = "") -> tuple[Client, str]:
    """Password, then this code: the browser, and where it is."""
    client = Client()
    answer = client.post("/sign-in/", {"login": "alice", "password": PASSWORD, "next": following})
    assert answer.headers["Location"].startswith("/sign-in/code/")
    answer = client.post(answer.headers["Location"], {"code": code})
    return client, answer.headers.get("Location", answer.content.decode())


def test_the_address_signs_in_as_well(alice: User) -> None:
    assert signed_in_by_typing("alice@example.org").get("/t/red/").status_code == 200
    assert signed_in_by_typing("ALICE@example.org").get("/t/red/").status_code == 200


def test_wrong_passwords_are_throttled_by_name_even_the_right_one(alice: User, bob: User) -> None:
    for _ in range(5):
        answer = Client().post("/sign-in/", {"login": "alice", "password": "wrong"})
        assert "That name and password do not match." in answer.content.decode()
    answer = Client().post("/sign-in/", {"login": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    assert "Too many wrong attempts. Wait five minutes" in answer.content.decode()
    signed_in_by_typing("bob")


def test_names_that_do_not_exist_are_throttled_alike(alice: User) -> None:
    for _ in range(5):
        Client().post("/sign-in/", {"login": "nobody", "password": "wrong"})
    answer = Client().post("/sign-in/", {"login": "nobody", "password": "wrong"})
    assert "Too many wrong attempts." in answer.content.decode()


def test_tries_from_one_address_are_throttled(alice: User, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login": "3/m/ip"}
    for number in range(3):
        assert Client().post("/sign-in/", {"login": f"x{number}", "password": "wrong"}).status_code == 200
    answer = Client().post("/sign-in/", {"login": "alice", "password": PASSWORD})
    assert answer.status_code == 429
    assert "Too many attempts" in answer.content.decode()
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.post("/sign-in/", {"login": "alice", "password": PASSWORD}).status_code == 302


def test_a_header_does_not_change_the_address_unless_a_proxy_is_configured(alice: User, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login": "1/m/ip"}

    def tried(address: str) -> int:
        given = {"login": "alice", "password": "wrong"}
        return Client().post("/sign-in/", given, headers={"X-Forwarded-For": address}).status_code

    assert [tried("192.0.2.1"), tried("192.0.2.2")] == [200, 429]
    settings.BEHIND_PROXY = True
    assert [tried("192.0.2.3"), tried("192.0.2.3"), tried("192.0.2.4")] == [200, 429, 200]


def test_an_account_that_is_switched_off_is_told_so_only_to_its_owner(alice: User) -> None:
    User.objects.update(is_active=False)
    answer = Client().post("/sign-in/", {"login": "alice", "password": PASSWORD})
    assert answer.status_code == 403
    assert "This account is switched off" in answer.content.decode()
    answer = Client().post("/sign-in/", {"login": "alice", "password": "wrong"})
    assert "That name and password do not match." in answer.content.decode()


def test_with_a_second_factor_a_password_alone_opens_nothing(alice: User) -> None:
    key, _ = with_second_factor(signed_in_by_typing())
    client = Client()
    client.post("/sign-in/", {"login": "alice", "password": PASSWORD})
    for page in ("/", "/t/red/", "/account/"):
        assert client.get(page).headers["Location"].startswith("/sign-in/")
    assert client.get("/api/inventory/devices/").status_code == 401
    other, where = second_step(code_for(key, 1), "/t/red/links/")
    assert where == "/t/red/links/"
    assert other.get("/t/red/links/").status_code == 200


def test_a_code_is_good_once_and_only_in_its_time(alice: User) -> None:
    key, _ = with_second_factor(signed_in_by_typing())
    code = code_for(key, 1)
    assert second_step(code)[1] == "/"
    assert "This code is not right." in second_step(code)[1]
    assert "This code is not right." in second_step(f"{code[:3]} {code[3:]}")[1]
    assert "This code is not right." in second_step(code_for(key, 9))[1]
    assert "This code is not right." in second_step("000000" if code != "000000" else "111111")[1]


def test_codes_are_throttled(alice: User) -> None:
    key, _ = with_second_factor(signed_in_by_typing())
    for _ in range(5):
        assert "This code is not right." in second_step(code_for(key, 20))[1]
    assert "Too many wrong attempts." in second_step(code_for(key, 1))[1]


def test_a_recovery_code_signs_in_once(alice: User) -> None:
    _, codes = with_second_factor(signed_in_by_typing())
    client, where = second_step(codes[3])
    assert where == "/"
    assert client.get("/t/red/").status_code == 200
    assert "This code is not right." in second_step(codes[3])[1]
    assert second_step(codes[4])[1] == "/"


def test_new_recovery_codes_replace_the_old(alice: User) -> None:
    client = signed_in_by_typing()
    _, old = with_second_factor(client)
    html = client.post("/account/recovery-codes/new/", follow=True).content.decode()
    new = re.findall(r"<li><code>(\d+)</code></li>", html)
    assert len(new) == 10
    assert not set(new) & set(old)
    assert "This code is not right." in second_step(old[0])[1]
    assert second_step(new[0])[1] == "/"


def test_keys_and_codes_lie_encrypted(alice: User) -> None:
    key, codes = with_second_factor(signed_in_by_typing())
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert key not in stored
    assert not [code for code in codes if code in stored]
    assert stored.count("gAAAA") == 2


def test_the_second_factor_is_switched_off_after_the_password(alice: User) -> None:
    with_second_factor(signed_in_by_typing())
    client, _ = second_step(Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0])
    assert "Two-factor sign-in" in client.get("/account/").content.decode()
    assert client.post("/account/two-factor/off/").headers["Location"].startswith("/account/confirm/")
    assert Authenticator.objects.count() == 2
    client.post("/account/confirm/?next=/account/two-factor/off/", {"password": PASSWORD})
    assert "Two-factor sign-in is off." in client.post("/account/two-factor/off/", follow=True).content.decode()
    assert Authenticator.objects.count() == 0
    signed_in_by_typing()


def test_confirming_with_a_wrong_password_opens_nothing(alice: User) -> None:
    client = signed_in_by_typing()
    html = client.post("/account/confirm/?next=/account/two-factor/", {"password": "wrong"}).content.decode()
    assert "This is not your password." in html
    assert client.get("/account/two-factor/").status_code == 302


def test_sessions_are_listed_and_a_revoked_one_is_out_at_its_next_request(alice: User) -> None:
    here, there = signed_in_by_typing(), signed_in_by_typing(User_Agent=AGENT)
    html = here.get("/account/").content.decode()
    assert "Firefox on Linux" in html
    assert "this browser" in html
    assert there.get("/t/red/").status_code == 200
    other = UserSession.objects.get(user_agent=AGENT)
    assert (
        "That session is signed out." in here.post(f"/account/sessions/{other.pk}/end/", follow=True).content.decode()
    )
    assert there.get("/t/red/").headers["Location"] == "/sign-in/?next=/t/red/"
    assert there.get("/api/inventory/devices/").status_code == 401
    assert "Firefox on Linux" not in here.get("/account/").content.decode()
    assert here.get("/t/red/").status_code == 200


def test_anothers_session_is_not_found(alice: User, bob: User) -> None:
    alices = signed_in_by_typing()
    pk = UserSession.objects.get(user=alice).pk
    bobs = signed_in_by_typing("bob")
    assert bobs.post(f"/account/sessions/{pk}/end/").status_code == 404
    assert bobs.get(f"/account/sessions/{pk}/end/").status_code == 405
    assert alices.get("/t/red/").status_code == 200


def test_a_new_password_signs_every_other_browser_out(alice: User) -> None:
    here, there = signed_in_by_typing(), signed_in_by_typing()
    given = {"oldpassword": PASSWORD, "password1": "quite another one", "password2": "quite another one"}
    assert "Your password is changed." in here.post("/account/password/", given, follow=True).content.decode()
    assert here.get("/t/red/").status_code == 200
    assert there.get("/t/red/").status_code == 302
    signed_in_by_typing(password="quite another one")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("wrong", "quite another one", "This is not your current password."),
        (PASSWORD, "short", "too short"),
        (PASSWORD, "password123", "too common"),
    ],
)
def test_a_password_that_is_refused_stays_as_it_is(old: str, new: str, words: str, alice: User) -> None:
    client = signed_in_by_typing()
    html = client.post("/account/password/", {"oldpassword": old, "password1": new, "password2": new}).content.decode()
    assert words in html
    signed_in_by_typing()


def test_a_new_address_counts_once_its_link_is_opened(alice: User) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    client = signed_in_by_typing()
    html = client.post("/account/email/", {"email": "new@example.org", "action_add": ""}, follow=True).content.decode()
    assert "A mail with a link is on its way" in html
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    [message] = mail.outbox
    assert (message.to, message.subject) == (["new@example.org"], "netops: Confirm your address")
    link = re.search(r"http://testserver(/account/email/\S+)", str(message.body))
    assert link
    assert "Is <strong>new@example.org</strong> the address of <strong>alice</strong>?" in (
        Client().get(link[1]).content.decode()
    )
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    client.post(link[1])
    alice.refresh_from_db()
    assert alice.email == "new@example.org"
    assert EmailAddress.objects.get(user=alice).verified


def test_a_mail_server_that_is_away_is_said(alice: User, settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 1
    client = signed_in_by_typing()
    html = client.post("/account/email/", {"email": "new@example.org", "action_add": ""}, follow=True).content.decode()
    assert "The mail to new@example.org could not be sent" in html


@pytest.mark.parametrize(
    "path", ["", "email/", "password/", "password/first/", "confirm/", "confirm/code/", "two-factor/",
             "two-factor/off/", "recovery-codes/", "recovery-codes/new/"],
)  # fmt: skip
def test_the_pages_of_an_account_need_one(path: str, db: None) -> None:
    answer = Client().get(f"/account/{path}")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in/")
