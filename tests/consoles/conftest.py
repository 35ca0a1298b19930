"""A real gateway, the agent's own link with serial ports on pseudo-terminals, and browsers' sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import struct
import tty
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from websockets.asyncio.client import ClientConnection, connect

from consoles.models import ConsolePort
from core.scope import team_scope
from pi_agent.consoles import Consoles
from pi_agent.identity import Identity
from pi_agent.link import Link
from pi_agent.machine import Machine
from pi_agent.outbox import Outbox
from pi_agent.ports import Wanted
from tenancy.models import Team
from tests.agents.conftest import (  # noqa: F401  (fixtures)
    BACKOFF,
    HANG,
    _gateway,
    agent,
    gateway,
    identity,
    socket_path,
    until,
    wait_for,
)
from tests.links import kept_up

ORIGIN = "http://localhost"


class Device:
    """What is at the other end of a serial cable: `link` leads to the terminal that the agent opens."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.plug()

    def plug(self) -> None:
        """In, for the first time or again."""
        self.heard = b""
        self.fd, self._port = os.openpty()
        tty.setraw(self._port)
        os.set_blocking(self.fd, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._port))

    def close(self) -> None:
        """Out. The number of its terminal may be another process's at once, so nothing leads there any more."""
        self.link.unlink(missing_ok=True)
        os.close(self.fd)
        os.close(self._port)

    async def say(self, data: bytes) -> None:
        """All of it, as fast as the agent reads."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.fd, left) :]
            except BlockingIOError:
                await asyncio.sleep(0.001)

    def listen(self) -> bytes:
        """Everything that was typed so far."""
        with suppress(BlockingIOError):
            self.heard += os.read(self.fd, 65536)
        return self.heard


@pytest.fixture
def device(tmp_path: Path) -> Any:
    # An earlier test may have had a port of the same number.
    shutil.rmtree(settings.CONSOLE_STORE, ignore_errors=True)
    made = Device(tmp_path / "R1")
    yield made
    made.close()


class Browser:
    """A page's socket at one console: what it was shown, what it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.shown = b""
        self.place: int | None = None
        self.gaps: list[tuple[int, int]] = []
        self.told: list[dict[str, Any]] = []

    async def read(self) -> None:
        async for message in self.socket:
            if isinstance(message, str):
                self.told.append(json.loads(message))
                continue
            offset = struct.unpack_from("!Q", message)[0]
            if self.place is not None and offset != self.place:
                assert offset > self.place, "bytes came twice"
                self.gaps.append((self.place, offset))
            self.shown += message[8:]
            self.place = offset + len(message) - 8

    async def ask(self, what: str) -> None:
        await self.socket.send(json.dumps({"type": "ask", "what": what}))

    def said(self, *words: str) -> bool:
        """Whether a sentence with all these words was told; it is found once."""
        for place, each in enumerate(self.told):
            if all(word in each.get("sentence", "") for word in words):
                del self.told[place]
                return True
        return False

    def does(self) -> dict[str, str]:
        """Who is at the port, and what they do."""
        return {each["name"]: each["does"] for each in self.last("people").get("people", [])}

    def last(self, kind: str) -> dict[str, Any]:
        return next((each for each in reversed(self.told) if each["type"] == kind), {})


def ticket_of(client: Client, port: ConsolePort) -> tuple[str, str]:
    """(ticket, URL)."""
    answer = client.post(reverse("console-ticket", args=["red", port.pk]))
    assert answer.status_code == 200, answer.content
    return answer.json()["ticket"], answer.json()["url"]


def headers(client: Client, origin: str = ORIGIN) -> dict[str, str]:
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return {"Origin": origin} | ({"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie.value}"} if cookie else {})


@asynccontextmanager
async def browsing(client: Client, port: ConsolePort, start: int | None = None, **first: Any) -> AsyncIterator[Browser]:
    """As the page does it: a ticket, a socket, the ticket on it."""
    ticket, url = await asyncio.to_thread(ticket_of, client, port)
    url = url.replace("testserver", "127.0.0.1")
    async with connect(url, additional_headers=headers(client), compression=None, max_size=None) as socket:
        browser = Browser(socket)
        await socket.send(json.dumps({"ticket": ticket, "from": start, **first}))
        reading = asyncio.create_task(browser.read())
        try:
            yield browser
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading


@asynccontextmanager
async def agent_with(
    identity: Identity,  # noqa: F811
    *devices: Device,
    limit: int = 4 << 20,
    dial: Collection[str] = (),
) -> AsyncIterator[Link]:
    """The agent's own link and serial ports, in this process; it registers these devices' ports."""
    consoles = Consoles(limit, dial)
    link = Link(f"unix:{socket_path()}", identity, lambda _: None, Outbox(1 << 20), BACKOFF, consoles=consoles)
    registration = Machine(Wanted(exclude=("*",), extra=tuple(str(each.link) for each in devices))).registration()
    consoles.offer(registration.ports)
    link.register(registration)
    try:
        async with kept_up(link):
            yield link
    finally:
        consoles.close()


def port_of(team: Team, device: Device) -> ConsolePort:
    """The console that the server made of the registration; waits for it to be open."""

    def ask() -> list[ConsolePort]:
        with team_scope(team.pk):
            return list(ConsolePort.objects.filter(name=str(device.link), tried=True))

    return wait_for(ask)[0]


async def opened(team: Team, device: Device) -> ConsolePort:
    return await asyncio.to_thread(port_of, team, device)


async def held(condition: Callable[[], object]) -> None:
    """Wait for what a test sees without the database."""
    async with asyncio.timeout(HANG):
        while not condition():
            await asyncio.sleep(0.005)


async def answering(device: Device, answer: Callable[[], bytes]) -> None:
    """The device answers each newline, until cancelled."""
    answered = 0
    while True:
        if (heard := device.listen().count(b"\r")) > answered:
            answered = heard
            await device.say(answer())
        await asyncio.sleep(0.01)
