"""A browser's socket at one console port: a ticket first, then the port's bytes one way and keystrokes the other.

Binary messages to the browser are `offset u64, bytes`; an offset further on than the last bytes ended is a gap. Binary
messages from it are what somebody typed or pasted. Texts are JSON objects with a `type`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.db import connection
from django.urls import path
from redis import RedisError

from consoles import services
from consoles.hub import Hub, Port
from consoles.models import ConsolePort
from core.live import group
from core.scope import acting, team_scope
from pi_agent.frames import Frame, Type
from tenancy.models import Seat
from tenancy.roles import can
from tenancy.sockets import socket_seat

TICKET_S = 15.0
"""For the first message to come."""
RECHECK_S = 60.0
CHUNK = 64 << 10
SCROLLBACK = 512 << 10
"""Bytes of the log that are shown on opening."""
_HEAD = struct.Struct("!Q")
P = ParamSpec("P")
T = TypeVar("T")


class _Gone(Exception):
    """The browser closed the socket."""


class _Refused(Exception):
    """The socket is closed with 4404; the text says why."""


class Viewer:
    """One open terminal."""

    def __init__(self, hub: Hub, scope: Any, receive: Any, send: Any) -> None:
        self.news = asyncio.Event()
        self._hub, self._scope, self._receive, self._send = hub, scope, receive, send
        self._messages: deque[dict[str, Any]] = deque()
        self._recheck = asyncio.Event()
        self._seat: Seat
        self._port: Port
        self._writes = False

    def tell(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self.news.set()

    async def serve(self) -> None:
        """From connect to close."""
        if (await self._receive())["type"] != "websocket.connect":
            return
        await self._send({"type": "websocket.accept"})
        try:
            await self._stay(await self._enter())
        except _Refused as refusal:
            await self._say({"type": "refused", "sentence": str(refusal)})
            await self._send({"type": "websocket.close", "code": 4404})
        except (_Gone, OSError):
            pass

    async def _enter(self) -> int | None:
        """The ticket is spent; returns the offset from which the browser wants to go on."""
        try:
            async with asyncio.timeout(TICKET_S):
                first = _read(await self._message())
        except TimeoutError:
            raise _Refused("No ticket came: open the console again.") from None
        seat, pk, secret, start = await self._find_seat(), self._pk(), first.get("ticket"), first.get("from")
        writes = None
        if seat is not None and isinstance(secret, str):
            writes = await _in_thread(
                seat, services.ticket_spend, port_id=pk, user_id=seat.user_id or 0, secret=secret[:100]
            )
        if seat is None or writes is None:
            raise _Refused("This ticket is not valid, or no longer: open the console again.")
        self._seat, self._writes = seat, writes and can(seat.role, "console.write")
        self._port = self._hub.port(seat.team_id, pk)
        return start if type(start) is int else None

    async def _stay(self, start: int | None) -> None:
        port = self._port
        self._place = port.end if start is None or start > port.end else start
        if start is None:
            self._place = max(port.log.first, port.end - SCROLLBACK)
        port.viewers.add(self)
        self.tell({"type": "hello", "writes": self._writes, "from": self._place, "trouble": port.trouble})
        work = [self._pump(), self._listen(), self._check(), self._hear()]
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            port.viewers.discard(self)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self) -> None:
        """What comes after this viewer's place. `send` waits while the browser does not take it; nobody else does."""
        port = self._port
        while True:
            self.news.clear()
            while self._messages:
                await self._say(self._messages.popleft())
            found = port.read(self._place, CHUNK)
            if found is None:
                found = await asyncio.to_thread(port.log.read, self._place, CHUNK)
            offset, data = found
            if data:
                await self._send({"type": "websocket.send", "bytes": _HEAD.pack(offset) + data})
                self._place = offset + len(data)
            else:
                await self.news.wait()

    async def _listen(self) -> None:
        while True:
            event = await self._message()
            if keys := event.get("bytes"):
                await self._order(Type.DATA, keys)
            elif _read(event).get("type") == "break":
                await self._order(Type.BREAK)

    async def _order(self, kind: Type, payload: bytes = b"") -> None:
        """To the port, if this viewer may; else it is told why not."""
        port = self._port
        if not self._writes:
            self.tell({"type": "refused", "sentence": "You may look on here, not type."})
        elif port.link is None:
            self.tell({"type": "refused", "sentence": "The agent is not connected: nothing was sent."})
        else:
            await port.link.send(Frame(kind, port.stream, payload=payload))

    async def _check(self) -> None:
        """Each minute, and when members of the team change."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._recheck.wait(), RECHECK_S)
            self._recheck.clear()
            seat = await self._find_seat()
            if seat is None:
                raise _Refused("You are not let in here any more.")
            if self._writes and not can(seat.role, "console.write"):
                self._writes = False
                self.tell({"type": "writes", "writes": False})
            if not await _in_thread(seat, ConsolePort.objects.filter(pk=self._port.port_id).exists):
                raise _Refused("This port is not there any more.")

    async def _hear(self) -> None:
        """Nudges of the team; while they are not heard, the check of each minute does."""
        layer = get_channel_layer()
        assert layer is not None
        name = group(self._seat.team_id)
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

    async def _find_seat(self) -> Seat | None:
        seat = await socket_seat(self._scope)
        return seat if seat and can(seat.role, "console.read") else None

    def _pk(self) -> int:
        return int(self._scope["url_route"]["kwargs"]["pk"])

    async def _message(self) -> dict[str, Any]:
        event: dict[str, Any] = await self._receive()
        if event["type"] != "websocket.receive":
            raise _Gone
        return event

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(message)})


def application(hub: Hub) -> Any:
    """Sockets of browsers: the session's cookie, and pages of our own only (Origin)."""

    async def console(scope: Any, receive: Any, send: Any) -> None:
        await Viewer(hub, scope, receive, send).serve()

    router: Any = URLRouter([path("console/<slug:slug>/<int:pk>", console)])  # type: ignore[arg-type]
    sockets = AllowedHostsOriginValidator(SessionMiddlewareStack(router))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            try:
                await sockets(scope, receive, send)
            except ValueError:  # URLRouter: no such path
                await send({"type": "websocket.close", "code": 4404})
        else:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return answer


def _read(event: dict[str, Any]) -> dict[str, Any]:
    """A text message's object; empty where it is none."""
    try:
        value = json.loads(event.get("text") or "")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


async def _in_thread(seat: Seat, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` for whoever has the seat, in one transaction of the team; the pooled connection is given back."""

    def call() -> T:
        try:
            with acting(door="page", user=seat.user_id), team_scope(seat.team_id):
                return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(call)
