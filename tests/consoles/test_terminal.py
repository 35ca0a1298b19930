"""The terminal in a real browser, at devices on pseudo-terminals: what it sends, what it never does, what it says."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.async_api import Page, async_playwright, expect

from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import HANG, GatewayProcess
from tests.consoles.conftest import Device, agent_with, browsing, held, opened

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]
expect.set_options(timeout=HANG * 1000)
# Sockets are kept where a test can cut them.
KEEP = """{
  const Plain = WebSocket;
  window.sockets = [];
  window.WebSocket = class extends Plain { constructor(...given) { super(...given); window.sockets.push(this); } };
}"""
PUT = """(text) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(event);
}"""


class Served:
    """Pages for Alice, and what went wrong in them."""

    def __init__(self, context: Any, base: str) -> None:
        self.context, self.base = context, base
        self.said: list[str] = []

    async def page(self, path: str) -> Page:
        page: Page = await self.context.new_page()
        # The pages' own nudges come from a server that is not there; they poll then.
        page.on("console", lambda message: self.said.extend([] if "/events" in message.text else [message.text]))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        await page.goto(f"{self.base}/t/red/consoles/{path}")
        return page


@asynccontextmanager
async def serving(base: str, client: Client, width: int = 1280) -> AsyncIterator[Served]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        context = await browser.new_context(viewport={"width": width, "height": 900})
        context.set_default_timeout(HANG * 1000)
        await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base)
        await context.add_init_script(KEEP)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        await context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": base}])
        served = Served(context, base)
        yield served
        await browser.close()
    assert served.said == []


def rows(page: Page, number: int = 0) -> Any:
    return page.locator(".xterm-rows").nth(number)


def told(page: Page) -> Any:
    return page.locator(".console-told")


async def ready(page: Page, count: int = 1) -> None:
    for number in range(count):
        await expect(page.locator(".console [data-do=break]").nth(number)).to_be_enabled()


async def point_at(page: Page, text: str) -> None:
    """Click it: what takes the mouse of a terminal lies over its text."""
    box = await rows(page).get_by_text(text, exact=True).bounding_box()
    assert box
    await page.mouse.move(box["x"] + 4, box["y"] + 4)
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


async def heard(device: Device, keys: bytes) -> None:
    await held(lambda: device.listen() == keys)


# Questions that a terminal answers, and things that it does: xterm's control sequences (invisible-island.net/xterm).
ASKED = [
    b"\x05", b"\x1b[c", b"\x1b[>c", b"\x1b[=c", b"\x1b[>q", b"\x1bZ", b"\x1b[x", b"\x1b[5n", b"\x1b[6n",
    b"\x1b[?6n", b"\x1b[?15n", b"\x1bP$qm\x1b\\", b"\x1bP$q q\x1b\\", b'\x1bP$q"p\x1b\\', b"\x1bP+q544e\x1b\\",
    b"\x1b[?2026$p", b"\x1b[20$p",
    b"\x1b[11t", b"\x1b[14t", b"\x1b[18t", b"\x1b[19t", b"\x1b[20t", b"\x1b[21t", b"\x1b]0;evil; reboot\x07\x1b[21t",
    b"\x1b]4;1;?\x07", b"\x1b]10;?\x07", b"\x1b]11;?\x07", b"\x1b]12;?\x07", b"\x1b]52;c;ZXZpbA==\x07",
    b"\x1b]52;c;?\x07",
    b"\x1b[?1000h", b"\x1b[?1002h", b"\x1b[?1003h", b"\x1b[?1004h", b"\x1b[?1006h", b"\x1b[?1016h", b"\x1b[?9001h",
]  # fmt: skip


def test_what_output_asks_for_reaches_neither_the_device_nor_the_clipboard(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    live_server: Any,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device), serving(live_server.url, alice_client) as served:
            port = await opened(team, device)
            page = await served.page(f"{port.pk}/")
            title = await page.title()
            await ready(page)
            await page.evaluate("navigator.clipboard.writeText('mine')")
            await device.say(b"".join(each + b"." for each in ASKED))
            await device.say(
                b"\r\n\x1b]8;;javascript:document.title='evil'\x07trap\x1b]8;;\x07 \x1b]8;;file:///etc/passwd\x07file\x1b]8;;\x07"
                b" \x1b]8;;http://localhost:1/safe\x07safe\x1b]8;;\x07\r\nend of it\r\n"
            )
            await expect(rows(page)).to_contain_text("end of it")
            # Mouse and focus, which it asked to be told of.
            for name in ("trap", "file"):
                await point_at(page, name)
            await page.locator("body").click(position={"x": 5, "y": 890})
            await page.locator(".console-screen").click(position={"x": 300, "y": 200})
            async with served.context.expect_page() as opening:
                await point_at(page, "safe")
            assert "localhost:1" in (await opening.value).url or (await opening.value).url.startswith("chrome-error")
            assert len(served.context.pages) == 2, "only the link to http was opened"
            await page.bring_to_front()
            await page.locator(".xterm-helper-textarea").focus()
            await page.keyboard.type("x")
            await held(lambda: device.listen().endswith(b"x"))
            assert device.heard == b"x"
            assert await page.evaluate("navigator.clipboard.readText()") == "mine"
            assert await page.title() == title

    asyncio.run(scenario())


def test_paste_is_shown_first_paced_and_can_wait_for_the_prompt(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    live_server: Any,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device), serving(live_server.url, alice_client) as served:
            port = await opened(team, device)
            page = await served.page(f"{port.pk}/")
            await ready(page)
            dialog = page.get_by_role("dialog")
            await page.locator(".xterm-helper-textarea").focus()
            await page.evaluate(PUT, "show clock")
            await heard(device, b"show clock")
            await expect(dialog).to_be_hidden()
            await device.say(b"fw-1# ")
            await expect(rows(page)).to_contain_text("fw-1#")

            await page.evaluate(PUT, "\x1b[31mone\ntwo\r\nthree")
            await expect(dialog.get_by_role("textbox", name="Text")).to_have_value("\x1b[31mone\ntwo\nthree")
            await expect(dialog).to_contain_text("in 3 lines")
            await dialog.get_by_label("Characters per second").fill("5000")
            await dialog.get_by_label("Wait after each line").check()
            await expect(dialog.get_by_label("The prompt")).to_have_value("fw-1#")
            await dialog.get_by_role("button", name="Paste").click()
            await heard(device, b"show clock[31mone\r")
            await expect(page.locator(".console-pasting")).to_contain_text("Pasting line 1 of 3")
            await device.say(b"\r\nfw-1# ")
            await heard(device, b"show clock[31mone\rtwo\r")
            await device.say(b"\r\nfw-1# ")
            await expect(told(page)).to_have_text("Pasted 3 lines.")
            assert device.listen() == b"show clock[31mone\rtwo\rthree"

    asyncio.run(scenario())


def test_a_megabyte_is_streamed_or_refused_and_disturbs_nobody(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    bob_client: Client, live_server: Any,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device), serving(live_server.url, alice_client) as served:
            port = await opened(team, device)
            page = await served.page(f"{port.pk}/")
            await ready(page)
            dialog = page.get_by_role("dialog")
            await page.locator(".xterm-helper-textarea").focus()
            await page.evaluate(f"({PUT})('line\\n'.repeat(300_000))")
            await expect(dialog).to_contain_text("1465 K characters in 300000 lines")
            await dialog.get_by_role("button", name="Paste").click()
            await expect(dialog.get_by_role("alert")).to_have_text(
                "The text has 1465 K characters: at most 1024 K characters can be pasted at once."
            )
            await dialog.get_by_role("button", name="Cancel").click()

            await page.evaluate(f"({PUT})('line\\n'.repeat(200_000))")
            await dialog.get_by_label("Characters per second").fill("20000")
            await dialog.get_by_role("button", name="Paste").click()
            await held(lambda: len(device.listen()) > 5000)
            async with browsing(bob_client, port) as bob:
                await device.say(b"said meanwhile")
                await held(lambda: bob.shown.endswith(b"said meanwhile"))
                await expect(rows(page)).to_contain_text("said meanwhile")
            await page.locator(".console-pasting").get_by_role("button", name="Cancel").click()
            await expect(told(page)).to_contain_text("of 200000: cancelled.")
            await page.keyboard.type("!")
            await held(lambda: device.listen().endswith(b"!"))
            whole = b"line\r" * 200_000
            assert whole.startswith(device.heard.removesuffix(b"!"))

    asyncio.run(scenario())


def test_trouble_is_told_in_a_sentence_and_goes_by(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    live_server: Any,
) -> None:  # fmt: skip
    async def scenario() -> None:
        # As another program does: flock(2), which the agent asks too.
        other = os.open(device.link, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX)
        async with agent_with(identity, device), serving(live_server.url, alice_client) as served:
            port = await opened(team, device)
            page = await served.page(f"{port.pk}/")
            state = page.locator("#console-state")
            await expect(state).to_have_text("This port is used by another program: end that one")
            os.close(other)
            await expect(state).to_have_text("Open")
            await device.say(b"caf\xe9 \xff\xfe ok\r\n")
            await expect(rows(page)).to_contain_text("ok")
            await expect(told(page)).to_contain_text("is not UTF-8")
            await expect(told(page)).to_contain_text("9600 baud")
            await page.locator(".xterm-helper-textarea").focus()
            await page.keyboard.type("still")
            await heard(device, b"still")
            device.close()
            await expect(state).to_have_text(re.compile("^This port (was unplugged|is not plugged in)"))
            device.plug()
            await expect(state).to_have_text("Open")
            await page.keyboard.type("again")
            await heard(device, b"again")
            unknown = await served.context.new_page()
            await unknown.goto(f"{served.base}/t/red/consoles/{port.pk}0/")
            await expect(unknown.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")
            await unknown.goto(f"{served.base}/t/red/consoles/split/?port={port.pk}&port=9{port.pk}&port=x")
            await expect(unknown.locator("body")).to_contain_text(f"There is no console 9{port.pk} in this team.")
            await expect(unknown.get_by_label(str(port))).to_be_checked()

    asyncio.run(scenario())


def test_a_socket_that_was_cut_leaves_no_gap(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    live_server: Any,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device), serving(live_server.url, alice_client) as served:
            port = await opened(team, device)
            page = await served.page(f"{port.pk}/")
            await ready(page)
            for number in range(4):
                await device.say(b"line %d;" % (2 * number))
                await page.evaluate("window.sockets.filter((each) => each.url.includes('/console/')).at(-1).close()")
                await device.say(b"line %d;" % (2 * number + 1))
                await expect(rows(page)).to_contain_text(f"line {2 * number + 1};")
            await ready(page)
            shown = await rows(page).inner_text()
            assert "".join(f"line {number};" for number in range(8)) in shown.replace("\n", "").replace("\xa0", " ")
            assert await page.evaluate("window.sockets.filter((each) => each.url.includes('/console/')).length") > 4

    asyncio.run(scenario())


@pytest.mark.parametrize("width", [1280, 390])
def test_several_side_by_side_each_have_their_own_keys(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client,
    live_server: Any, tmp_path: Path, width: int,
) -> None:  # fmt: skip
    second = Device(tmp_path / "R2")

    async def scenario() -> None:
        async with agent_with(identity, device, second), serving(live_server.url, alice_client, width) as served:
            ports = [await opened(team, each) for each in (device, second)]
            page = await served.page(f"split/?port={ports[0].pk}")
            await page.get_by_label(str(ports[1])).check()
            await page.get_by_role("button", name="Open").click()
            await ready(page, 2)
            await device.say(b"first device\r\n")
            await second.say(b"second device\r\n")
            await expect(rows(page, 0)).to_contain_text("first device")
            if width > 800:
                await expect(rows(page, 1)).to_contain_text("second device")
            await page.keyboard.type("one")
            await heard(device, b"one")
            if width < 800:
                await expect(rows(page, 1)).to_be_hidden()
                await page.get_by_role("tab", name=str(ports[1])).click()
                await expect(rows(page, 1)).to_contain_text("second device")
            else:
                await page.keyboard.press("Alt+2")
            await page.keyboard.type("two")
            await heard(second, b"two")
            await page.keyboard.press("Alt+1")
            await page.keyboard.type("!")
            await heard(device, b"one!")
            assert second.listen() == b"two"
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    try:
        asyncio.run(scenario())
    finally:
        second.close()
