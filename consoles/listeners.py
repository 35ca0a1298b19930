"""A port of the gateway's loopback for a script that speaks plain TCP, or telnet with RFC 2217: for one connection that
comes within a minute, and whose first line of data is the token. Before that a telnet client may agree on options.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from consoles import services
from consoles.comport import ComPort
from consoles.hub import Hub
from consoles.sessions import Ended, Refused, Session
from pi_agent.lines import Settings
from pi_agent.telnet import BINARY, COM_PORT, DO, ECHO, SGA, WILL, Telnet
from tenancy.models import Seat
from tenancy.roles import can

MODES = ("raw", "rfc2217")
CONNECT_S = 60.0
MOST = 64
"""Listeners at once."""
CHUNK = 16 << 10
LINE = 200
"""Bytes within which the token's line ends."""
_open: set[Listener] = set()


class Listener:
    """`name` is what others see; `settings` how the port is set now."""

    def __init__(
        self,
        hub: Hub,
        seat: Seat,
        port_id: int,
        find_seat: Callable[[], Awaitable[Seat | None]],
        *,
        name: str,
        mode: str,
        settings: Settings,
    ) -> None:
        self._hub, self._seat, self._port_id, self._find_seat = hub, seat, port_id, find_seat
        self._token = secrets.token_urlsafe(24)
        self._name = name
        self._breaks = 0
        self._settings = settings
        self._com = ComPort(settings, may=can(seat.role, "change"), on_break=self._break)
        ours, theirs = frozenset((BINARY, ECHO, SGA, COM_PORT)), frozenset((BINARY, SGA, COM_PORT))
        self._telnet = None if mode == "raw" else Telnet(ours, theirs, self._part, self._break)
        self._deadline = asyncio.get_running_loop().time() + CONNECT_S
        self._server: asyncio.Server
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> dict[str, Any]:
        """Where it is, and its token. Raises Refused."""
        if len(_open) >= MOST:
            raise Refused(f"{MOST} sockets for scripts are open: try again when one of them is closed.")
        _open.add(self)
        try:
            self._server = await asyncio.start_server(self._met, "127.0.0.1", 0, backlog=1)
        except OSError:
            _open.discard(self)
            raise
        asyncio.get_running_loop().call_at(self._deadline, self._nobody_came)
        host, port = self._server.sockets[0].getsockname()
        return {"host": host, "port": port, "token": self._token}

    def _nobody_came(self) -> None:
        self._server.close()
        if self._serving is None:
            _open.discard(self)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server.close()
        if self._serving is None:
            self._serving = asyncio.current_task()
            try:
                await self._serve(reader, writer)
            except (Ended, Refused, OSError, TimeoutError):
                pass
            finally:
                _open.discard(self)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._telnet:
            for command, option in ((WILL, ECHO), (WILL, SGA), (WILL, BINARY), (DO, BINARY), (DO, COM_PORT)):
                self._telnet.ask(command, option)
        async with asyncio.timeout_at(self._deadline):
            typed = await self._past_token(reader, writer)
        if typed is None:
            return
        self._breaks = 0
        end = self._hub.port(self._seat.team_id, self._port_id).end
        who = partial(Session, name=self._name, via="program", start=end)
        async with who(self._hub, self._seat, self._port_id, self._find_seat) as session:
            tasks = [asyncio.create_task(self._listen(session, typed, reader, writer))]
            tasks += [asyncio.create_task(self._pump(session, writer)), asyncio.create_task(session.over())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _past_token(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """What came after the token's line; None where it is another one."""
        came = b""
        while b"\n" not in came:
            self._flush(writer)
            data = await reader.read(CHUNK)
            came += self._telnet.receive(data) if self._telnet else data
            if not data or len(came) > LINE:
                return None
        self._flush(writer)
        token, _, rest = came.partition(b"\n")
        return rest if hmac.compare_digest(token.strip(), self._token.encode()) else None

    async def _listen(
        self, session: Session, typed: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """What may not be typed ends the connection: a script must not take it for done."""
        while True:
            if self._com.settings != self._settings:
                await self._set(session, self._com.settings)
            if typed:
                await session.type(typed)
            for _ in range(min(self._breaks, 1)):
                await session.send_break()
            self._breaks = 0
            data = await reader.read(CHUNK)
            if not data:
                return
            typed = self._telnet.receive(data) if self._telnet else data
            self._flush(writer)

    async def _pump(self, session: Session, writer: asyncio.StreamWriter) -> None:
        while True:
            _, data = await session.read(CHUNK)
            session.messages.clear()
            if self._telnet:
                self._telnet.send(data)
                self._flush(writer)
            else:
                writer.write(data)
            await writer.drain()

    async def _set(self, session: Session, settings: Settings) -> None:
        self._settings = settings
        values = {"baud": settings.baud, "parity": settings.parity, "flow": settings.flow}
        await session.in_thread(services.port_set, port_id=self._port_id, **values)

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        if self._telnet and self._telnet.out:
            writer.write(bytes(self._telnet.out))
            self._telnet.out.clear()

    def _part(self, option: int, part: bytes) -> None:
        assert self._telnet
        self._com.take(self._telnet, option, part)

    def _break(self) -> None:
        self._breaks += 1
