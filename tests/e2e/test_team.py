"""People and doors by clicking, on a whole installation: members, invitations, tokens, second factor, sessions."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import FOREVER_MS
from tests.installation import Installation, wait_for
from tests.totp import code_for

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
Open = Callable[[], Page]


@pytest.fixture(params=[1440, 390])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def open_page(browser: Browser, running: Installation, width: int) -> Iterator[Open]:
    """A page of a browser of its own; nothing may be said on any console, and nothing may be wider than the screen."""
    said: list[str] = []
    contexts = []

    def open_page() -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, base_url=running.url)
        context.set_default_timeout(FOREVER_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"
        context.close()
    # Who is removed while the team's page is open is told so: by a browser's line about a 404.
    assert [line for line in said if not re.search("/t/demo/team/.* 404 ", line)] == []


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def owner(open_page: Open, running: Installation) -> Page:
    page = open_page()
    sign_in(page, "demo", json.loads((running.data / "secrets.json").read_text())["demo_password"])
    page.wait_for_url("**/t/demo/")
    return page


def join(owner: Page, open_page: Open, running: Installation, name: str) -> Page:
    """Invite `name`, who opens the link in the mail and chooses a password: the page they come to."""
    mails = len(running.mails())
    owner.goto("/t/demo/team/")
    owner.get_by_label("E-mail").fill(f"{name}@example.org")
    owner.get_by_label("Role", exact=True).select_option("viewer")
    owner.get_by_role("button", name="Invite").click()
    shown = owner.locator("#invitation-link").inner_text()
    wait_for("the mail", lambda: len(running.mails()) > mails, 20)
    sent = next(mail for mail in reversed(running.mails()) if mail["To"] == f"{name}@example.org")
    link = re.search(r"http\S+/invitations/\S+", sent.get_content())
    assert link
    assert link[0] == shown
    page = open_page()
    page.goto(link[0])
    expect(page.get_by_role("heading", level=1)).to_have_text("Join Demo")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account and join").click()
    page.wait_for_url("**/t/demo/")
    return page


def test_an_invited_person_joins_rises_and_is_removed(
    owner: Page, open_page: Open, running: Installation, width: int
) -> None:
    name = f"nina{width}"
    guest = join(owner, open_page, running, name)
    guest.get_by_role("navigation", name="Main").get_by_role("link", name="Team").click()
    expect(guest.get_by_role("heading", level=1)).to_have_text("Team Demo")
    expect(guest.get_by_text("Invite somebody")).to_be_hidden()
    expect(guest.locator("#live")).to_have_text("Live")
    expect(guest.get_by_role("link", name="Tokens")).to_be_hidden()

    # The list of the owner's open page has followed by itself.
    role = owner.get_by_label(f"Role of {name}", exact=True)
    expect(role).to_have_value("viewer")
    role.select_option("admin")
    owner.get_by_role("button", name=f"Save the role of {name}").click()
    expect(owner.get_by_text(f"{name} is now admin.")).to_be_visible()
    guest.reload()
    expect(guest.get_by_text("Invite somebody")).to_be_visible()
    expect(guest.get_by_role("link", name="Tokens")).to_be_visible()
    expect(guest.get_by_role("button", name="Remove demo")).to_be_hidden()
    expect(guest.locator("#live")).to_have_text("Live")

    # Removed, the page that is open notices at once.
    owner.get_by_role("button", name=f"Remove {name}").click()
    expect(owner.get_by_text(f"{name} is out of the team.")).to_be_visible()
    expect(guest.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")
    guest.goto("/")
    expect(guest.get_by_role("heading", level=1)).to_have_text("You are not in a team yet")


def test_the_last_owner_cannot_leave(owner: Page) -> None:
    owner.goto("/t/demo/team/")
    owner.get_by_role("button", name="Leave this team").click()
    expect(owner.get_by_text("demo is the last owner: make another member owner first.")).to_be_visible()


def status(running: Installation, token: str) -> int:
    asked = urllib.request.Request(
        f"{running.url}/api/inventory/devices/?limit=1", headers={"Authorization": f"Token {token}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_token_is_made_used_and_revoked(owner: Page, running: Installation, width: int) -> None:
    name = f"nightly {width}"
    owner.goto("/t/demo/team/")
    owner.get_by_role("navigation", name="Parts of the team").get_by_role("link", name="Tokens").click()
    owner.get_by_label("Name").fill(name)
    owner.get_by_label("Networks").fill("not a network")
    owner.get_by_role("button", name="Make token").click()
    expect(owner.locator(".field-error")).to_contain_text("'not' is no network")
    owner.get_by_label("Networks").fill("127.0.0.0/8")
    owner.get_by_role("button", name="Make token").click()
    secret = owner.locator("#new-token").inner_text()
    assert status(running, secret) == 200
    owner.goto("/t/demo/team/tokens/")
    row = owner.locator("tbody tr").filter(has_text=name)
    expect(row).to_contain_text("Viewer")
    expect(row.locator('[data-label="Last used"]')).not_to_have_text("never")
    expect(owner.locator("body")).not_to_contain_text(secret)
    owner.get_by_role("button", name=f"Revoke {name}").click()
    expect(owner.get_by_text("The token is revoked.")).to_be_visible()
    assert status(running, secret) == 401
    owner.get_by_role("navigation", name="Parts of the team").get_by_role("link", name="Audit").click()
    expect(owner.get_by_role("main")).to_contain_text(name)


def test_a_second_factor_is_asked_for_and_a_session_revoked(
    owner: Page, open_page: Open, running: Installation, width: int
) -> None:
    name = f"tim{width}"
    page = join(owner, open_page, running, name)
    page.locator("details.user summary").click()
    page.get_by_role("link", name="Your account").click()
    page.get_by_role("link", name="Switch on").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    assert page.locator("img.qr").evaluate("image => image.complete && image.naturalWidth > 0")
    key = page.locator("#totp-key").inner_text()
    page.get_by_label("Authenticator code").fill(code_for(key))
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    expect(page.locator(".codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("On", exact=True)).to_be_visible()

    other = open_page()
    sign_in(other, name, PASSWORD)
    expect(other.get_by_role("heading", level=1)).to_have_text("Second step")
    other.get_by_label("Code").fill("12345678")
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_text("This code is not right.")).to_be_visible()
    other.get_by_label("Code").fill(code_for(key, 1))
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/t/demo/")
    expect(other.locator("#live")).to_have_text("Live")

    page.reload()
    page.get_by_role("button", name=re.compile("^Sign out Chrome on Linux")).click()
    expect(page.get_by_text("That session is signed out.")).to_be_visible()
    expect(page.get_by_text("this browser")).to_have_count(1)
    # The page that is open there notices by itself, also where the nudge about it got lost.
    other.wait_for_url("**/sign-in/**", timeout=75_000)
    owner.goto("/t/demo/team/")
    owner.get_by_role("button", name=f"Remove {name}").click()
    expect(owner.get_by_text(f"{name} is out of the team.")).to_be_visible()
