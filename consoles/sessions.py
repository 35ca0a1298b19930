"""One person at one console port, through whatever door: a browser's socket, SSH, a program."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any, ParamSpec, Self, TypeVar

from django.db import connection
from django.utils import timezone
from redis import RedisError

from agents import nudges
from consoles import services
from consoles.hub import Hub
from consoles.people import AWAY, TYPING_S, Refused, new_key
from consoles.selectors import port_exists
from consoles.typed import Typist, typed_keep
from core.scope import acting, team_scope
from pi_agent.frames import Frame, Type
from tenancy.models import Seat
from tenancy.roles import can

__all__ = ["Ended", "Refused", "Session", "in_thread"]

log = logging.getLogger("netops.consoles")

RECHECK_S = 60.0
TRUST_S = 15 * 60.0
"""For so long somebody who is here may go on while the database cannot say whether they still may."""
DATABASE_S = 15.0
"""Nobody waits longer for a database; one that is away is noticed sooner."""
SCROLLBACK = 512 << 10
"""Bytes of the log that are shown on opening."""
DOORS = {"browser": "page", "ssh": "ssh", "program": "api"}
"""By how the person came, what the audit trail calls the door."""
P = ParamSpec("P")
T = TypeVar("T")
_numbers = itertools.count(1)
# Its own: while a database hangs, logs are read all the same.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="console")


class Ended(Exception):
    """The person is not let in any more; the text is a sentence that says why."""


class Session:
    """Used with `async with`; from the gateway's event loop. Whoever makes one knows that the seat's team has the port
    and that the seat may read it; the session asks `find_seat` each minute, and when members of the team change.

    `place` is the offset of the next byte to read: set it to go elsewhere in the log. `messages` are small JSON
    objects with a `type`, for whoever is at the door; `news` is set when there is one, or bytes.
    """

    def __init__(
        self,
        hub: Hub,
        seat: Seat,
        port_id: int,
        find_seat: Callable[[], Awaitable[Seat | None]],
        *,
        name: str,
        via: str,
        writes: bool = True,
        start: int | None = None,
        key: str = "",
    ) -> None:
        """`name` is what others see. `start`: the first byte to read; None for the last SCROLLBACK. `writes`: if the
        role lets. `key`: of the session that this one goes on with, as its `hello` told it."""
        self.seat, self.name, self.via, self.key = seat, name[:150], via, key or new_key()
        self.number = next(_numbers)
        self.port = port = hub.port(seat.team_id, port_id)
        self.writes = writes and can(seat.role, "console.write")
        self.typed = float("-inf")
        """When last (time.monotonic)."""
        self.news = asyncio.Event()
        self.messages: deque[dict[str, Any]] = deque()
        self.place = max(port.log.first, port.end - SCROLLBACK) if start is None else min(start, port.end)
        self._may_write = writes
        self._find_seat = find_seat
        self._recheck = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._checking: asyncio.Task[None]
        self._visit: int | None = None
        self._times: dict[str, datetime | None] = {"began": timezone.now(), "typed_first": None, "typed_last": None}
        self._noting = asyncio.Lock()
        self._typist = Typist(port, self._keep_typed)

    @property
    def takes(self) -> bool:
        return self.writes and can(self.seat.role, "console.takeover")

    async def __aenter__(self) -> Self:
        port = self.port
        port.viewers |= {self}
        port.people.join(self)
        hello = {"type": "hello", "from": self.place, "trouble": port.trouble, "you": self.number, "key": self.key}
        self.messages.appendleft(hello | self._rights())
        self._note()
        self._checking = asyncio.create_task(self._check())
        self._checking.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.port.viewers -= {self}
        self.port.people.leave(self)
        self._note(ended=True)
        self._checking.cancel()
        await asyncio.wait([self._checking])
        if self._over.done():
            self._over.exception()

    def tell(self, message: dict[str, Any]) -> None:
        if message["type"] == "people":  # the newest says it all
            self.messages = deque(each for each in self.messages if each["type"] != "people")
        self.messages.append(message)
        self.news.set()

    async def read(self, most: int) -> tuple[int, bytes]:
        """Wait for news: (offset, at most so many bytes) from `place` on; an offset behind `place` is after a gap.
        No bytes where there are only `messages`. Raises Ended."""
        while True:
            self.news.clear()
            if self._over.done():
                self._over.result()
            found = self.port.read(self.place, most)
            if found is None:
                found = await asyncio.to_thread(self.port.log.read, self.place, most)
            offset, data = found
            if data:
                self.place = offset + len(data)
            if data or self.messages:
                return found
            await self.news.wait()

    async def over(self) -> None:
        """Waits, for whoever does not read, until Ended is raised."""
        await asyncio.shield(self._over)

    def end(self, sentence: str) -> None:
        """It has nothing more to say here, from now on."""
        self.port.people.leave(self)
        self.writes = False
        if not self._over.done():
            self._over.set_exception(Ended(sentence))
        self.news.set()

    async def type(self, keys: bytes) -> None:
        """Raises Refused."""
        end = self.port.end
        await self._order(Type.DATA, keys)
        self._typist.keys(keys, end)

    async def send_break(self) -> None:
        """Raises Refused."""
        await self._order(Type.BREAK)

    async def ask(self, what: str) -> None:
        """`request` the port for oneself alone; `grant` it to whoever asks, or `refuse`; `release` it; `take` it from
        whoever has it. Raises Refused."""
        if what in ("request", "take") and self.port.link is None:
            raise Refused("The agent is not connected: ask again when it is.")
        await self.port.people.ask(self, what)

    async def _order(self, kind: Type, payload: bytes = b"") -> None:
        port = self.port
        if not self.writes:
            raise Refused("You may look on here, not type.")
        fence = port.people.check(self)
        if port.link is None:
            raise Refused("The agent is not connected: nothing was sent.")
        before, self.typed = self.typed, monotonic()
        if self.typed - before > TYPING_S:
            port.people.say()
        self._times["typed_last"] = now = timezone.now()
        self._times["typed_first"] = self._times["typed_first"] or now
        if payload:
            port.typed(payload)
        await port.link.send(Frame(kind, port.stream, fence, payload))

    def _rights(self) -> dict[str, bool]:
        return {"writes": self.writes, "takes": self.takes}

    async def _check(self) -> None:
        """Each minute, and when members of the team change; nudges may get lost."""
        with nudges.hearing_team(self.seat.team_id, self._heard):
            await self._look_again()

    async def _look_again(self) -> None:
        known = monotonic()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._recheck.wait(), RECHECK_S)
            self._recheck.clear()
            self._note()
            try:
                async with asyncio.timeout(DATABASE_S):
                    seat = await self._find_seat()
                    there = await self.in_thread(port_exists, port_id=self.port.port_id)
            except (*AWAY, RedisError):
                if monotonic() - known > TRUST_S:
                    raise Ended("Whether you may be here could not be checked for 15 minutes.") from None
                continue
            known = monotonic()
            if seat is None or not can(seat.role, "console.read"):
                raise Ended("You are not let in here any more.")
            if not there:
                raise Ended("This port is not there any more.")
            before, self.seat = self._rights(), seat
            self.writes = self._may_write and can(seat.role, "console.write")
            if self._rights() != before:
                self.tell({"type": "writes"} | self._rights())
                if not self.writes:
                    self.port.people.bar(self)

    def _heard(self, message: dict[str, Any]) -> None:
        if message.get("type") == "members":
            self._recheck.set()

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` for this person, in one transaction of the team; the pooled connection is given back."""
        return await in_thread(self.seat, DOORS[self.via], work, *args, **kwargs)

    def _keep_typed(self, offset: int, text: str) -> None:
        async def keep() -> None:
            with suppress(*AWAY):
                await self.in_thread(
                    typed_keep, port_id=self.port.port_id, offset=offset, text=text, user_id=self.seat.user_id,
                    at=timezone.now(),
                )  # fmt: skip

        self.port.people.spawn(keep())

    def _note(self, ended: bool = False) -> None:
        """That this person is, or was, here: in the background, and not while the database is away."""

        async def note() -> None:
            async with self._noting:
                with suppress(*AWAY):
                    self._visit = await self.in_thread(
                        services.visit_note, visit=self._visit, port_id=self.port.port_id, user_id=self.seat.user_id,
                        who=self.name, via=self.via, ended=ended, times=dict(self._times),
                    )  # fmt: skip

        self.port.people.spawn(note())

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or not (error := task.exception()):
            return
        if isinstance(error, Ended):
            self.end(str(error))
        elif not self._over.done():
            self._over.set_exception(error)
            self.news.set()


async def in_thread(seat: Seat, door: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` for whoever has the seat, in one transaction of the team; the pooled connection is given back."""

    def call() -> T:
        try:
            token = {"token": seat.token_id, "token_name": seat.token_name or None}
            with acting(door=door, user=seat.user_id, **token), team_scope(seat.team_id):
                return work(*args, **kwargs)
        finally:
            connection.close()

    async with asyncio.timeout(DATABASE_S):
        return await asyncio.get_running_loop().run_in_executor(_threads, call)
