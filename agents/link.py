"""The server's end of one agent's link: who it is, what it sends, what it is to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from agents import nudges, services
from agents.models import agent_of_key
from agents.streams import Hub
from agents.tls import host_key
from core.scope import acting, team_scope
from pi_agent.frames import (
    CONSOLES,
    OLDEST,
    PORTS,
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
from pi_agent.identity import verify
from pi_agent.registration import Registration

log = logging.getLogger("netops.gateway")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
P = ParamSpec("P")
T = TypeVar("T")

HANDSHAKE_S = 30.0
GRACE_S = 5.0
WINDOW = 256 << 10
"""Bytes an agent may have in flight unacknowledged."""
AWAY_S = 2.0
"""Between attempts, while the database is away."""
BATCH = 32
"""Frames stored in one transaction at most."""

# Database work never runs in the event loop: a slow database delays acknowledgements, not pings or other links.
_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="link")
# After a restart all agents are at the door at once. They wait for these few threads: the links that are up do not wait
# behind them, and more at a time would only keep the event loop from the interpreter (every step of TLS gives it up).
_door = ThreadPoolExecutor(max_workers=2, thread_name_prefix="door")


class Ended(Exception):
    """The peer closed the link, or it was replaced."""


class Refused(Exception):
    """The link ends with this code and sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def in_thread(team_id: int | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in one transaction of a team; the pooled connection is given back."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _call(team_id, work, *args, **kwargs))


async def when_there(team_id: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_thread`, again and again while the database is away: consoles need links that outlive it."""
    while True:
        try:
            return await in_thread(team_id, work, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            log.warning("the database is away (%s): a link waits for it", type(error).__name__)
            await asyncio.sleep(random.uniform(AWAY_S / 2, AWAY_S))  # noqa: S311


async def at_door(team_id: int | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `in_thread`, for links that come up: they take turns."""
    return await asyncio.get_running_loop().run_in_executor(_door, _call(team_id, work, *args, **kwargs))


def _call(team_id: int | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    def call() -> T:
        try:
            if team_id is None:
                return work(*args, **kwargs)
            with acting(door="agent", name=f"agent {kwargs.get('agent_id', '')}".strip()), team_scope(team_id):
                return work(*args, **kwargs)
        finally:
            connection.close()

    return call


class Link:
    """One connection, from CHALLENGE to close."""

    def __init__(self, receive: Receive, send: Send, hub: Hub | None = None) -> None:
        self._receive_event = receive
        self._send_event = send
        self._hub = hub
        self._ports = False  # whether the hub serves its agent
        self.team_id = self.agent_id = self.epoch = 0
        self._name = ""
        self._hello: Hello
        self.boot = uuid.UUID(int=0)
        # At rest a link is one task and next to no objects: there are a thousand of them, and an Event is 760 bytes.
        self._heard: asyncio.Event | None = None
        self._end: asyncio.Future[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._pushed: dict[int, int] = {}
        self._pushing = self._news = False
        self._inbox: list[Frame] = []
        self._waiting = 0  # their bytes
        self._storing: asyncio.Task[None] | None = None

    async def identify(self) -> None:
        """CHALLENGE, HELLO; raises Refused, FrameError, TimeoutError or Ended. Nothing says why a key is not let in."""
        nonce = os.urandom(32)
        await self._send(Challenge((OLDEST, PROTOCOL), nonce).frame())
        async with asyncio.timeout(HANDSHAKE_S):  # not of the turn at the door, which may take long
            hello = Hello.parse(await self._receive())
        if not OLDEST <= hello.version <= PROTOCOL:
            raise Refused(
                "version", f"This server speaks versions {OLDEST} to {PROTOCOL} of the link: update the older side."
            )
        if not verify(hello.key, hello.signature, signed_message(nonce, hello.key)):
            raise Refused("auth", "This key is not enrolled.")
        found = await at_door(None, agent_of_key, hello.key.hex())
        if found is None:
            raise Refused("auth", "This key is not enrolled.")
        self.team_id, self.agent_id = found
        self._hello, self.boot = hello, hello.boot

    @property
    def key(self) -> str:
        return self._hello.key.hex()

    @property
    def version(self) -> int:
        """Of the protocol, that the agent speaks."""
        return self._hello.version

    async def open(self) -> None:
        """WELCOME, under an epoch of its own; raises StaleLink where the agent was removed meanwhile."""
        opened = await at_door(self.team_id, services.link_open, agent_id=self.agent_id, hello=self._hello)
        self.epoch, self._name = opened.epoch, opened.name
        await self._send(Welcome(opened.name, opened.streams, WINDOW, self._hello.version).frame())
        await self._push(opened.plans)
        # What it said of its machine is in the database, and would stay for as long as the link does.
        self._hello = replace(self._hello, hostname="", software="", addresses={}, streams={})

    async def answers(self, seconds: float) -> bool:
        """Whether the agent at the other end says anything within that time; version 1 knows no PING: what it sends
        by itself counts."""
        self._heard = self._heard or asyncio.Event()
        if self._hello.version > 1:
            await self._send(Frame(Type.PING))
        try:
            await asyncio.wait_for(self._heard.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def clash(self) -> None:
        """This link's key is in use by a machine that is there."""
        hello = self._hello
        await in_thread(
            self.team_id,
            services.key_clash,
            agent_id=self.agent_id,
            hostname=hello.hostname,
            addresses=hello.addresses,
        )

    def look(self, versions: Mapping[int, Mapping[int, int]]) -> None:
        """For each stream the version of agents' plans: if one is newer than what was pushed, its nudge got lost."""
        if any(of.get(self.agent_id, 0) > self._pushed.get(stream, 0) for stream, of in versions.items()):
            self.stir()

    def replace(self) -> None:
        """A newer link of the same agent is here."""
        if not self._end.done():
            self._end.set_exception(services.StaleLink)

    async def serve(self) -> None:
        """Until an end is reached; then every task of the link has ended."""
        self._end = asyncio.get_running_loop().create_future()
        self._start(self._read())
        try:
            with nudges.hearing(self.agent_id, self.stir):
                await self._end
        except services.StaleLink:
            raise Refused("replaced", "A newer link of this agent took over.") from None
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._hub:
                self._hub.left(self)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this link, which ends with the link, and the link with what it raises."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._end.done():
            self._end.set_exception(error)

    async def refuse(self, code: str, sentence: str) -> None:
        """Say why and close; the peer may be gone already."""
        with contextlib.suppress(OSError, RuntimeError):
            await self._send(Error(code, sentence[:1000]).frame())
            await self._send_event({"type": "websocket.close", "code": 1008})

    async def send(self, frame: Frame) -> None:
        """Of the hub. Waits while the agent does not take what is on its way."""
        await self._send(frame)

    async def _send(self, frame: Frame) -> None:
        await self._send_event({"type": "websocket.send", "bytes": frame.encode()})

    async def _receive(self) -> Frame:
        event = await self._receive_event()
        if event["type"] != "websocket.receive":
            raise Ended
        return Frame.decode(event.get("bytes") or event.get("text") or b"")

    async def _read(self) -> None:
        while True:
            await self._take(await self._receive())
            if self._heard:
                self._heard.set()
                self._heard = None

    async def _take(self, frame: Frame) -> None:
        if self._hub and (frame.stream == CONSOLES or frame.stream >= PORTS):
            if answer := self._hub.receive(self, frame):
                await self._send(answer)
            return
        match frame.type:
            case Type.DATA:
                self._inbox.append(frame)
                self._waiting += _size(frame)
                if self._storing is None or self._storing.done():
                    self._storing = self._start(self._store())
                elif self._waiting > 2 * WINDOW:  # no agent of ours sends so much ahead
                    await asyncio.wait([self._storing])
            case Type.ACK | Type.PONG:
                pass  # of a plan: what counts is that reports come under its version
            case Type.REGISTER:
                await self._register(frame)
            case Type.ERROR:
                await self._refused(frame)
            case _:
                raise FrameError(f"a {frame.type.name} frame came out of turn")

    async def _register(self, frame: Frame) -> None:
        registered = Registration.parse(frame.payload)
        port = await at_door(
            self.team_id, services.link_register, agent_id=self.agent_id, epoch=self.epoch, registration=registered
        )
        self._ports |= self.version > 4 or (self.version > 3 and bool(registered.ports))
        if self._ports:
            self.stir()
        await self._send(TunnelTerms(str(settings.SSH_HOST), settings.SSH_PORT, port, host_key()).frame())

    async def _refused(self, frame: Frame) -> None:
        error = Error.parse(frame)
        log.warning("agent %s: %s (%s)", self._name, error.message, error.code)
        if not frame.stream:
            raise Ended
        await in_thread(
            self.team_id,
            services.plan_refused,
            agent_id=self.agent_id,
            epoch=self.epoch,
            stream=frame.stream,
            version=frame.offset,
            sentence=error.message,
        )

    async def _store(self) -> None:
        """Commit, then acknowledge: what was acknowledged is never lost. Frames that wait share a transaction."""
        while self._inbox:
            batch, self._inbox = self._inbox[:BATCH], self._inbox[BATCH:]
            self._waiting -= sum(map(_size, batch))
            for stream in dict.fromkeys(frame.stream for frame in batch):
                frames = [(frame.offset, frame.payload) for frame in batch if frame.stream == stream]
                expected = await when_there(
                    self.team_id,
                    services.stream_receive,
                    agent_id=self.agent_id,
                    epoch=self.epoch,
                    stream=stream,
                    frames=frames,
                )
                await self._send(ack(stream, expected))

    def stir(self) -> None:
        """There may be a newer plan."""
        self._news = True
        if not self._pushing:
            self._pushing = True
            self._start(self._look())

    async def _look(self) -> None:
        try:
            while self._news:
                self._news = False
                plans = await when_there(self.team_id, services.plans_of, agent_id=self.agent_id, epoch=self.epoch)
                await self._push(plans)
                if self._hub and self._ports:
                    await self._hub.plan(self)
        finally:
            self._pushing = False

    async def _push(self, plans: Mapping[int, tuple[int, bytes]]) -> None:
        for stream, (version, payload) in plans.items():
            if self._pushed.get(stream) != version:
                self._pushed[stream] = version
                if stream:
                    await self._send(Frame(Type.DATA, stream, version, payload))
                elif self._hello.version > 2:
                    await self._send(Frame(Type.ROTATE))


def _size(frame: Frame) -> int:
    """About what it takes here."""
    return len(frame.payload) + 200
