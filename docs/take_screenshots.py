"""Takes the screenshots of README from the demo with a cut link; with a FOLDER as argument, of every page and look.

`.venv/bin/python docs/take_screenshots.py [FOLDER]`
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from playwright.sync_api import Browser, sync_playwright

from tests.installation import Installation, wait_for

DOCS = Path(__file__).with_name("screenshots")
PAGES = {
    "overview": "",
    "map": "topology/",
    "paths": "paths/",
    "incidents": "incidents/",
    "devices": "devices/",
    "links": "links/",
    "agents": "agents/",
    "team": "team/",
}
LOOKS = [(width, scheme) for width in (1440, 390) for scheme in ("light", "dark")]
QUIET = ["--no-sandbox", "--disable-sync", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def shoot(
    browser: Browser, installation: Installation, pages: dict[str, str], looks: list[tuple[int, Any]], folder: Path
) -> None:
    """Each page (name to path) at each width and colour scheme."""
    password = json.loads((installation.data / "secrets.json").read_text())["demo_password"]
    for width, scheme in looks:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        page.goto(installation.url)
        page.get_by_label("User name").fill("demo")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/t/demo/")
        for name, path in pages.items():
            page.goto(f"{installation.url}/t/demo/{path}")
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
        context.close()


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else DOCS
    folder.mkdir(exist_ok=True)
    with Installation() as installation, sync_playwright() as playwright:
        installation.settle()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        if folder != DOCS:
            shoot(browser, installation, PAGES, LOOKS, folder)
        installation.lab("cut", "R2", "R4", silent=True)
        incident = wait_for("an incident", installation.open_incidents, 30)[0]
        wait_for("a mail", installation.mails, 30)
        shown = {f"{name}-fault": PAGES[name] for name in ("overview", "map", "paths")}
        shown["incident"] = f"incidents/{incident['id']}/"
        shoot(browser, installation, shown, [LOOKS[0], LOOKS[3]] if folder == DOCS else LOOKS, folder)
        browser.close()


if __name__ == "__main__":
    main()
