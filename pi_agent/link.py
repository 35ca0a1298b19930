"""The agent's end of the link: one WebSocket, opened from the inside, that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from pi_agent import __version__
from pi_agent.addresses import interface_addresses
from pi_agent.consoles import Consoles
from pi_agent.frames import (
    CONSOLES,
    CONTROL,
    MAX_ADDRESSES,
    MAX_FRAME,
    MAX_INTERFACES,
    OLDEST,
    PORTS,
    PROBING,
    PROTOCOL,
    Challenge,
    Error,
    Frame,
    FrameError,
    Hello,
    TunnelTerms,
    Type,
    Welcome,
    ack,
    signed_message,
)
from pi_agent.identity import Signer
from pi_agent.outbox import Outbox
from pi_agent.pinning import check_pin, pinned_context
from pi_agent.registration import Registration

log = logging.getLogger("pi_agent.link")

BACKOFF = (0.1, 30.0)
"""Seconds: the first and the longest bound of the full-jitter back-off."""
HANDSHAKE_TIMEOUT = 30.0
"""Seconds: a gateway that has just come up has all its agents at the door at once."""
UNKNOWN = "auth"
"""The code with which the server refuses a key."""
WELCOME_TIMEOUT = 120.0
"""Seconds in which we may wait our turn there: pings say whether the gateway lives."""
FAILOVER_S = 30.0
"""Within this time of a gateway's death, however silent it was, its agents turn to another one (docs/agent.md)."""
PONG_S = 8.0
PING_S = FAILOVER_S - PONG_S - 2
"""Pings cost: an idle link may carry 100 kB an hour (bench/agents.py)."""


class Refused(Exception):
    """One end ended the link; the text says which and why. `code`: of the server's ERROR."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


PlanHandler = Callable[[bytes], None]
"""Takes a plan's JSON; raises FrameError to refuse it."""


def check_url(url: str) -> str:
    """Raises ValueError with one sentence unless it is ws://, wss:// or unix:/path, or several with spaces between."""
    if len(several := url.split()) > 1:
        return " ".join(map(check_url, several))
    if url.startswith("unix:/"):
        return url
    try:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0:
            parts.hostname.encode("idna")
            return url
    except ValueError:  # a port out of range, a name with empty labels
        pass
    raise ValueError(f"link {url!r} must be ws://host:port/link, wss://host:port/link or unix:/path")


def boot_id() -> uuid.UUID:
    """The kernel's: the same for every process since this machine came up."""
    try:
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except (OSError, ValueError):
        return uuid.uuid4()


class Link:
    """Keeps one link to the server: delivers the outbox's reports in order, hands plans to `on_plan`."""

    def __init__(
        self,
        url: str,
        identity: Signer,
        on_plan: PlanHandler,
        outbox: Outbox,
        backoff: tuple[float, float] = BACKOFF,
        pin: bytes | None = None,
        on_tunnel: Callable[[TunnelTerms], None] | None = None,
        consoles: Consoles | None = None,
        on_up: Callable[[str], None] = lambda _: None,
        on_down: Callable[[str], None] = lambda _: None,
        on_unknown: Callable[[], None] = lambda: None,
        on_rotate: Callable[[], object] = lambda: None,
    ) -> None:
        """`url`: of one gateway, or of several with spaces between, which are tried in turn from any one on: so agents
        spread. `pin`: SHA-256 of the server's SubjectPublicKeyInfo; without, wss:// trusts what this machine trusts.
        `on_up` is told the agent's name at the server, `on_down` why a link ended or did not come up;
        `on_unknown` is called where the server does not know the key, `on_rotate` where it wants another one."""
        self.outbox = outbox
        self._urls = deque(check_url(url).split())
        self._urls.rotate(random.randrange(len(self._urls)))  # noqa: S311
        self._since = math.inf
        self._identity = identity
        self._on_plan = on_plan
        self._backoff = backoff
        self._pin = pin
        self._on_tunnel = on_tunnel
        self._consoles = consoles
        self._on_up = on_up
        self._on_down = on_down
        self._on_unknown = on_unknown
        self._on_rotate = on_rotate
        self._boot = boot_id()
        self._news = asyncio.Event()
        self._dropped = 0  # as last logged
        self._registration: bytes | None = None
        self._registration_news = asyncio.Event()

    def deliver(self, report: bytes) -> None:
        """Queue one report; from the event loop's thread."""
        self.outbox.append(report)
        self._news.set()

    def register(self, registration: Registration) -> None:
        """What the server is to know of this machine, now and on every new link; from the event loop's thread."""
        self._registration = registration.to_json()
        self._registration_news.set()

    async def run(self) -> None:
        """For ever; whatever ends a connection is logged in one line, and the next one is tried."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            self._since = math.inf
            try:
                async with self._connect() as socket_:
                    await self._serve(socket_)
            except (OSError, WebSocketException, Refused) as error:
                trouble = f"link to {self._url}: {str(error) or 'the server did not answer in time'}"
                log.warning("%s", trouble)
                self._on_down(trouble)
                if isinstance(error, Refused) and error.code == UNKNOWN:
                    self._on_unknown()
            except Exception as error:  # whatever a strange server provoked: an agent in the field has to come back
                log.exception("link to %s", self._url)
                self._on_down(f"link to {self._url}: {type(error).__name__}")
            self._urls.rotate(-1)
            first, longest = self._backoff
            if loop.time() - self._since > longest:
                attempt = 0
            await asyncio.sleep(random.uniform(0, min(longest, first * 2 ** min(attempt, 16))))  # noqa: S311
            attempt += 1

    @property
    def _url(self) -> str:
        return self._urls[0]

    def _connect(self) -> connect:
        options: dict[str, Any] = {
            "compression": None,  # round-trip times do not compress, and its windows cost 300 kB
            "max_size": MAX_FRAME,
            "open_timeout": HANDSHAKE_TIMEOUT,
            "close_timeout": 1,
            "ping_interval": PING_S,
            "ping_timeout": PONG_S,
        }
        if self._url.startswith("unix:"):
            return unix_connect(self._url.removeprefix("unix:"), "ws://localhost/link", **options)
        if self._pin is not None:
            options["ssl"] = pinned_context()
        return connect(self._url, **options)

    async def _serve(self, socket_: ClientConnection) -> None:
        try:
            await self._converse(socket_)
        except FrameError as error:
            await socket_.send(Error("frame", str(error)[:1000]).frame().encode())
            raise Refused(f"the server sent what this agent cannot use: {error}") from None

    async def _converse(self, socket_: ClientConnection) -> None:
        if self._pin is not None and not self._url.startswith("unix:"):
            check_pin(socket_.transport.get_extra_info("ssl_object"), self._pin)
        async with asyncio.timeout(WELCOME_TIMEOUT):
            welcome = await self._introduce(socket_)
        self._since = asyncio.get_running_loop().time()
        self.outbox.resume(welcome.streams.get(PROBING, 0))
        log.info("link to %s is up: agent %s", self._url, welcome.agent)
        self._on_up(welcome.agent)
        senders = [self._send_reports(socket_, welcome.window)]
        if welcome.version > 1:
            senders.append(self._send_registrations(socket_))
        if welcome.version > 3 and self._consoles:
            senders.append(self._consoles.run(lambda frame: socket_.send(frame.encode()), welcome.window))
        tasks = [asyncio.create_task(each) for each in (self._read(socket_), *map(_unless_closed, senders))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, socket_: ClientConnection) -> None:
        async for message in socket_:
            await self._receive(socket_, Frame.decode(message))
        raise Refused("the server closed the link")

    async def _introduce(self, socket_: ClientConnection) -> Welcome:
        """CHALLENGE, HELLO, WELCOME."""
        challenge = Challenge.parse(_expect(await socket_.recv()))
        low, high = challenge.versions
        version = min(high, PROTOCOL)
        if version < max(low, OLDEST):
            spoken = f"{OLDEST} to {PROTOCOL}"
            raise FrameError(f"the server speaks versions {low} to {high}, this agent {spoken}; update the older")
        key = self._identity.public
        hello = Hello(
            key=key,
            signature=self._identity.sign(signed_message(challenge.nonce, key)),
            boot=self._boot,
            hostname=socket.gethostname() or "unknown",
            software=__version__,
            addresses=_own_addresses(),
            streams={PROBING: self.outbox.first},
            version=version,
        )
        await socket_.send(hello.frame().encode())
        return Welcome.parse(_expect(await socket_.recv()))

    async def _receive(self, socket_: ClientConnection, frame: Frame) -> None:
        match frame:
            case Frame(Type.ACK, stream=stream) if stream == PROBING:
                self.outbox.acknowledge(frame.offset)
                self._news.set()
            case Frame(Type.DATA, stream=stream) if stream == PROBING:
                await socket_.send(self._take_plan(frame).encode())
            case Frame(Type.PING):
                await socket_.send(Frame(Type.PONG).encode())
            case Frame(Type.ROTATE):
                self._on_rotate()
            case Frame(Type.REGISTERED):
                terms = TunnelTerms.parse(frame)
                if self._on_tunnel:
                    self._on_tunnel(terms)
            case Frame(Type.ERROR):
                _expect_error(frame)
            case Frame(stream=stream) if self._consoles and (stream == CONSOLES or stream >= PORTS):
                if answer := self._consoles.receive(frame):
                    await socket_.send(answer.encode())
            case Frame(Type.DATA):
                error = Error("stream", f"this agent has no stream {frame.stream}")
                await socket_.send(error.frame(frame.stream, frame.offset).encode())
            case _:
                raise FrameError(f"a {frame.type.name} frame came out of turn")

    def _take_plan(self, frame: Frame) -> Frame:
        try:
            self._on_plan(frame.payload)
        except FrameError as error:
            log.warning("plan %d is refused: %s", frame.offset, error)
            return Error("plan", str(error)[:1000]).frame(PROBING, frame.offset)
        return ack(PROBING, frame.offset + 1)

    async def _send_reports(self, socket_: ClientConnection, window: int) -> None:
        while True:
            self._news.clear()
            while item := self.outbox.take(window):
                await socket_.send(Frame(Type.DATA, PROBING, *item).encode())
            if self.outbox.dropped != self._dropped:
                self._dropped = self.outbox.dropped
                log.warning("%d reports were dropped so far: the queue was full", self._dropped)
            await self._news.wait()

    async def _send_registrations(self, socket_: ClientConnection) -> None:
        """The newest, at once and after each change."""
        while True:
            self._registration_news.clear()
            if self._registration is not None:
                await socket_.send(Frame(Type.REGISTER, payload=self._registration).encode())
            await self._registration_news.wait()


async def _unless_closed(sender: Coroutine[None, None, None]) -> None:
    """That the link is closed says whoever reads: what the server sent last says why."""
    with suppress(ConnectionClosed):
        await sender


def _own_addresses() -> dict[str, list[str]]:
    """As many as a HELLO holds: a machine full of containers may have more."""
    found = list(interface_addresses().items())[:MAX_INTERFACES]
    return {name: addresses[:MAX_ADDRESSES] for name, addresses in found}


def _expect(message: str | bytes) -> Frame:
    """A frame of the handshake; the server's ERROR is raised in its own words."""
    frame = Frame.decode(message)
    if frame.type is Type.ERROR:
        _expect_error(frame)
    return frame


def _expect_error(frame: Frame) -> None:
    error = Error.parse(frame)
    if frame.stream == CONTROL:
        raise Refused(f"the server refuses: {error.message} ({error.code})", error.code)
    log.warning("the server refuses on stream %d: %s (%s)", frame.stream, error.message, error.code)
