"""One person at one console port, through whatever door: a browser's socket, SSH, a program."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ParamSpec, Self, TypeVar

from channels.layers import get_channel_layer
from django.db import connection
from redis import RedisError

from consoles.hub import Hub
from consoles.models import ConsolePort
from core.live import group
from core.scope import acting, team_scope
from pi_agent.frames import Frame, Type
from tenancy.models import Seat
from tenancy.roles import can

RECHECK_S = 60.0
SCROLLBACK = 512 << 10
"""Bytes of the log that are shown on opening."""
DOORS = {"browser": "page"}
"""By how the person came, what the audit trail calls the door."""
P = ParamSpec("P")
T = TypeVar("T")


class Refused(Exception):
    """What was asked for is not done; the text is a sentence for whoever asked."""


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
        via: str,
        writes: bool = True,
        start: int | None = None,
    ) -> None:
        """`start`: the first byte to read; None for the last SCROLLBACK. `writes`: if the role lets."""
        self.seat, self.via = seat, via
        self.port = port = hub.port(seat.team_id, port_id)
        self.writes = writes and can(seat.role, "console.write")
        self.news = asyncio.Event()
        self.messages: deque[dict[str, Any]] = deque()
        self.place = max(port.log.first, port.end - SCROLLBACK) if start is None else min(start, port.end)
        self._find_seat = find_seat
        self._recheck = asyncio.Event()
        self._over: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.port.viewers.add(self)
        self.tell({"type": "hello", "writes": self.writes, "from": self.place, "trouble": self.port.trouble})
        for work in (self._check(), self._hear()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.port.viewers.discard(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tell(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.news.set()

    async def read(self, most: int) -> tuple[int, bytes]:
        """Wait for news: (offset, at most so many bytes) from `place` on; an offset behind `place` is after a gap.
        No bytes where there are only `messages`. Raises Ended."""
        while True:
            self.news.clear()
            if self._over:
                raise self._over
            found = self.port.read(self.place, most)
            if found is None:
                found = await asyncio.to_thread(self.port.log.read, self.place, most)
            offset, data = found
            if data:
                self.place = offset + len(data)
            if data or self.messages:
                return found
            await self.news.wait()

    async def type(self, keys: bytes) -> None:
        """Raises Refused."""
        await self._order(Type.DATA, keys)

    async def send_break(self) -> None:
        """Raises Refused."""
        await self._order(Type.BREAK)

    async def _order(self, kind: Type, payload: bytes = b"") -> None:
        port = self.port
        if not self.writes:
            raise Refused("You may look on here, not type.")
        if port.link is None:
            raise Refused("The agent is not connected: nothing was sent.")
        await port.link.send(Frame(kind, port.stream, payload=payload))

    async def _check(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._recheck.wait(), RECHECK_S)
            self._recheck.clear()
            seat = await self._find_seat()
            if seat is None or not can(seat.role, "console.read"):
                raise Ended("You are not let in here any more.")
            if self.writes and not can(seat.role, "console.write"):
                self.writes = False
                self.tell({"type": "writes", "writes": False})
            if not await self.in_thread(ConsolePort.objects.filter(pk=self.port.port_id).exists):
                raise Ended("This port is not there any more.")

    async def _hear(self) -> None:
        """Nudges of the team; while they are not heard, the check of each minute does."""
        layer = get_channel_layer()
        assert layer is not None
        name = group(self.seat.team_id)
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(name, channel)
                try:
                    while True:
                        if (await layer.receive(channel)).get("type") == "members":
                            self._recheck.set()
                finally:
                    await layer.group_discard(name, channel)
            except (RedisError, OSError):
                await asyncio.sleep(RECHECK_S)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` for this person, in one transaction of the team; the pooled connection is given back."""
        return await in_thread(self.seat, DOORS[self.via], work, *args, **kwargs)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._over = error
            self.news.set()


async def in_thread(seat: Seat, door: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` for whoever has the seat, in one transaction of the team; the pooled connection is given back."""

    def call() -> T:
        try:
            with acting(door=door, user=seat.user_id), team_scope(seat.team_id):
                return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(call)
