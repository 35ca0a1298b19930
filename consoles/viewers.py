"""A browser's socket at one console port: a ticket first, then the port's bytes one way and keystrokes the other.

Binary messages to the browser are `offset u64, bytes`; an offset further on than the last bytes ended is a gap. Binary
messages from it are what somebody typed or pasted. Texts are JSON objects with a `type`.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from typing import Any

from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.urls import path

from consoles import services
from consoles.hub import Hub
from consoles.sessions import Ended, Refused, Session, in_thread
from tenancy.models import Seat
from tenancy.roles import can
from tenancy.sockets import socket_seat

TICKET_S = 15.0
"""For the first message to come."""
CHUNK = 64 << 10
_HEAD = struct.Struct("!Q")


class Gone(Exception):
    """The socket is closed."""


class Viewer:
    """One open terminal."""

    def __init__(self, hub: Hub, scope: Any, receive: Any, send: Any) -> None:
        self._hub, self._scope, self._receive, self._send = hub, scope, receive, send

    async def serve(self) -> None:
        """From connect to close; what ends it on our side is told, with the code 4404."""
        if (await self._receive())["type"] != "websocket.connect":
            return
        await self._send({"type": "websocket.accept"})
        try:
            async with await self._enter() as session:
                await self._stay(session)
        except Ended as end:
            await self._say({"type": "refused", "sentence": str(end)})
            await self._send({"type": "websocket.close", "code": 4404})
        except (Gone, OSError):
            pass

    async def _enter(self) -> Session:
        """The ticket is spent."""
        first = await self._first()
        seat, secret, start = await self._find_seat(), first.get("ticket"), first.get("from")
        pk, spent = self._pk(), None
        if seat and can(seat.role, "console.read") and isinstance(secret, str):
            user, secret = seat.user_id or 0, secret[:100]
            spent = await in_thread(seat, "page", services.ticket_spend, port_id=pk, user_id=user, secret=secret)
        if seat is None or spent is None:
            raise Ended("This ticket is not valid, or no longer: open the console again.")
        where, key = start if type(start) is int else None, str(first.get("key", ""))
        return Session(
            self._hub, seat, pk, self._find_seat, name=spent.name, via="browser", writes=spent.writes, start=where,
            key=key if re.fullmatch("[0-9a-f]{32}", key) else "",
        )  # fmt: skip

    async def _first(self) -> dict[str, Any]:
        """The message with the ticket."""
        try:
            async with asyncio.timeout(TICKET_S):
                return _read(await self._message())
        except TimeoutError:
            raise Ended("No ticket came: open the console again.") from None

    def _pk(self) -> int:
        return int(self._scope["url_route"]["kwargs"]["pk"])

    async def _stay(self, session: Session) -> None:
        tasks = [asyncio.create_task(work) for work in (self._pump(session), self._listen(session), session.over())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, session: Session) -> None:
        """`send` waits while the browser does not take it; nobody else does."""
        while True:
            offset, data = await session.read(CHUNK)
            while session.messages:
                await self._say(session.messages.popleft())
            if data:
                await self._send({"type": "websocket.send", "bytes": _HEAD.pack(offset) + data})

    async def _listen(self, session: Session) -> None:
        while True:
            event = await self._message()
            try:
                if keys := event.get("bytes"):
                    await session.type(keys)
                elif (message := _read(event)).get("type") == "break":
                    await session.send_break()
                elif message.get("type") == "ask":
                    await session.ask(str(message.get("what")))
            except Refused as refusal:
                session.tell({"type": "refused", "sentence": str(refusal)})

    async def _find_seat(self) -> Seat | None:
        return await socket_seat(self._scope)

    async def _message(self) -> dict[str, Any]:
        event: dict[str, Any] = await self._receive()
        if event["type"] != "websocket.receive":
            raise Gone
        return event

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(message)})


def application(hub: Hub) -> Any:
    """Sockets of browsers: the session's cookie, and pages of our own only (Origin). Programs have tickets alone."""
    from consoles.programs import Program

    async def console(scope: Any, receive: Any, send: Any) -> None:
        await Viewer(hub, scope, receive, send).serve()

    async def program(scope: Any, receive: Any, send: Any) -> None:
        await Program(hub, scope, receive, send).serve()

    routes: list[Any] = [
        path("console/<slug:slug>/<int:pk>", AllowedHostsOriginValidator(SessionMiddlewareStack(console))),
        path("console/<slug:slug>/<int:pk>/program", program),  # type: ignore[arg-type]
    ]
    sockets: Any = URLRouter(routes)

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
