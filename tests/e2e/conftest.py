"""One installation serves all tests of this folder; each leaves the lab healed and everything up."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.installation import Installation

# A guard against hanging, not a measure: the machine may be several times slower than the one this was written on.
FOREVER_MS = 25_000
expect.set_options(timeout=FOREVER_MS)
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid or item.nodeid.startswith("e2e/"):
            item.add_marker(pytest.mark.xdist_group("installation"))


@pytest.fixture(scope="session")
def running() -> Iterator[Installation]:
    with Installation() as installation:
        yield installation


@pytest.fixture
def netops(running: Installation) -> Iterator[Installation]:
    """The installation with everything up, before and after."""
    running.settle()
    yield running
    running.lab("heal")
    running.settle()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module, not of the session: Playwright keeps an event loop running in this thread while it is there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-sync", *QUIET]
        )
        yield browser
        browser.close()
