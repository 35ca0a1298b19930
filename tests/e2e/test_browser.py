"""The design's first journey by clicking, in a real browser against the whole installation."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import FOREVER_MS
from tests.installation import Installation

pytestmark = pytest.mark.browser
REFRESH = "document.body.dispatchEvent(new CustomEvent('netops:paths'))"
REFRESHED = f"""new Promise((done) => {{
  document.body.addEventListener("htmx:afterSettle", done, {{ once: true }});
  {REFRESH};
}}).then(() => null)"""
HOLDS = """link => [...link.children].every(each => {
  const [inner, outer] = [each, link].map(one => one.getBoundingClientRect());
  return outer.top <= inner.top && inner.bottom <= outer.bottom;
})"""
# htmx writes to the console that a refresh was given up for what somebody asked for.
GAVE_WAY = ("htmx:afterRequest, ", "htmx:sendAbort, ")
SECTIONS = ("Overview", "Topology", "Paths", "Incidents", "Devices", "Links", "Consoles", "Agents", "Team")


@pytest.fixture(params=[1440, 390])
def page(browser: Browser, netops: Installation, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page signed in as the demo's user by typing; nothing may be said on the console."""
    password = json.loads((netops.data / "secrets.json").read_text())["demo_password"]
    context = browser.new_context(viewport={"width": request.param, "height": 900}, base_url=netops.url)
    context.set_default_timeout(FOREVER_MS)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.extend([] if message.text.startswith(GAVE_WAY) else [message.text]))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto("/")
    page.get_by_label("User name").fill("demo")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/t/demo/")
    yield page
    context.close()
    assert said == []


def go(page: Page, section: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=section).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(section)
    expect(page.locator("#live")).to_have_text("Live")


def test_every_section_fits_and_is_live(page: Page) -> None:
    for section in SECTIONS:
        go(page, section)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{section} is too wide"
        here = page.locator(".rail [aria-current]")
        expect(here).to_be_in_viewport(ratio=0.9)
        assert here.evaluate(HOLDS), f"{section} is cut off"


def test_a_link_fails_and_recovers_without_reload(page: Page, netops: Installation) -> None:
    go(page, "Topology")
    page.evaluate("window.loaded = true")
    pick = page.locator("#topology-list li").filter(has_text="R2–R4")
    expect(pick).to_contain_text("up")
    netops.lab("cut", "R2", "R4", silent=True)
    expect(pick).to_contain_text("fault")
    page.get_by_role("link", name="R2–R4").click()
    side = page.get_by_role("complementary", name="Details")
    expect(side.get_by_role("heading", level=1)).to_have_text("R2–R4")
    expect(side).to_contain_text("Link R2–R4 is down")
    netops.lab("heal")
    expect(pick).to_contain_text("up", timeout=75_000)
    expect(side).not_to_contain_text("Link R2–R4 is down")
    page.get_by_role("button", name="Close the details").click()
    expect(side).to_be_hidden()
    assert page.evaluate("window.loaded")
    go(page, "Incidents")
    page.locator("#listing tbody tr").first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("R2–R4")
    expect(page.locator(".timeline")).to_contain_text("Resolved")


def test_paths_are_all_up_with_round_trips(page: Page) -> None:
    go(page, "Paths")
    expect(page.locator("#listing tbody tr")).to_have_count(8)
    expect(page.locator("#listing tbody .state-up")).to_have_count(8)
    expect(page.locator("#listing tbody svg.spark")).to_have_count(8)
    page.get_by_role("link", name="Cover loops").click()
    expect(page.locator("#listing")).to_contain_text("Loops probed besides the paths")
    assert "role=cover" in page.url


def test_a_choice_outlives_a_refresh_that_was_under_way(page: Page) -> None:
    go(page, "Paths")
    page.get_by_role("link", name="Cover loops").wait_for()
    page.route(lambda url: "role=" not in url, lambda _: None)  # a refresh is asked for, and not answered
    with page.expect_request(lambda request: request.headers.get("hx-request") == "true"):
        page.evaluate(REFRESH)
    page.get_by_role("link", name="Cover loops").click()
    expect(page.locator("#listing")).to_contain_text("Loops probed besides the paths")
    with page.expect_response(lambda answer: "role=cover" in answer.url):
        page.evaluate(REFRESH)
    expect(page.locator("#listing")).to_contain_text("Loops probed besides the paths")
    page.unroute_all()


def test_a_refresh_under_a_pressed_button_takes_neither_click_nor_focus(page: Page) -> None:
    go(page, "Paths")
    link = page.get_by_role("link", name="Cover loops")
    link.hover()
    page.mouse.down()
    expect(link).to_be_focused()
    page.evaluate(REFRESHED)
    expect(link).to_be_focused()
    page.mouse.up()
    expect(page.locator("#listing")).to_contain_text("Loops probed besides the paths")


def test_search_narrows_while_typing_and_goes_into_the_address(page: Page) -> None:
    go(page, "Devices")
    page.get_by_role("searchbox").press_sequentially("r4")
    expect(page.locator("#listing a.name")).to_have_text(["R4"])
    assert "q=r4" in page.url
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.go_back()
    expect(page.locator("#listing a.name")).to_have_count(6)


def test_the_chosen_colours_are_remembered(page: Page) -> None:
    button = page.locator("#theme")
    expect(button).to_have_accessible_name("Colours: follow the system")
    button.click()
    button.click()
    expect(button).to_have_accessible_name("Colours: dark")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"


def test_the_keyboard_comes_to_the_content_and_out_of_menus(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    account = page.locator("details.user")
    account.locator("summary").press("Enter")
    expect(account.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(account.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(account.locator("summary")).to_be_focused()


def test_without_its_socket_a_page_says_so_and_asks_again(page: Page) -> None:
    page.route_web_socket("**/events", lambda socket: socket.close())
    page.reload()
    expect(page.locator("#live")).to_have_text("Not live")
    with page.expect_request(lambda request: request.headers.get("hx-request") == "true", timeout=50_000):
        pass
