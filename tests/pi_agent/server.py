"""A server's end of the link, on a Unix socket, that misbehaves as told and keeps what a real one would."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from pi_agent.frames import PROBING, Challenge, Error, Frame, Hello, Type, Welcome, ack, signed_message
from pi_agent.identity import verify

DEADLINE = 20.0


@dataclass
class Fate:
    """What befalls one connection: cut after this many frames in either direction; which share of ACKs is sent."""

    cut_after: int | None = None
    ack_every: int = 1


@dataclass
class Server:
    path: str
    fates: list[Fate] = field(default_factory=list)
    window: int = 1 << 16
    versions: tuple[int, int] = (1, 1)
    plans: list[bytes] = field(default_factory=list)
    expected: int = 0
    gaps: int = 0
    reports: list[bytes] = field(default_factory=list)
    hellos: list[Hello] = field(default_factory=list)
    answers: list[Frame] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    refuse: Error | None = None

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        fate = self.fates.pop(0) if self.fates else Fate()
        left = fate.cut_after
        frames = 0

        def count() -> None:
            nonlocal frames
            frames += 1
            if left is not None and frames > left:
                connection.transport.abort()
                raise ConnectionResetError

        async def send(frame: Frame) -> None:
            count()
            await connection.send(frame.encode())

        try:
            nonce = os.urandom(32)
            await send(Challenge(self.versions, nonce).frame())
            answer = Frame.decode(await connection.recv())
            if answer.type is Type.ERROR:
                self.answers.append(answer)
                return
            hello = Hello.parse(answer)
            assert verify(hello.key, hello.signature, signed_message(nonce, hello.key))
            self.hellos.append(hello)
            count()
            if self.refuse:
                await send(self.refuse.frame())
                return
            await send(Welcome("pi", {PROBING: self.expected}, self.window).frame())
            for number, plan in enumerate(self.plans):
                await send(Frame(Type.DATA, PROBING, number, plan))
            seen = 0
            async for message in connection:
                frame = Frame.decode(message)
                count()
                if frame.type is not Type.DATA:
                    self.answers.append(frame)
                    continue
                self.store(frame)
                seen += 1
                if seen % fate.ack_every == 0:
                    await send(ack(PROBING, self.expected))
        except (ConnectionClosed, ConnectionResetError):
            pass

    def behave(self) -> None:
        """Cut what is open, and be a good server from now on: one that withholds ACKs would be waited for, for ever."""
        self.fates.clear()
        for connection in self.connections:
            connection.transport.abort()

    def store(self, frame: Frame) -> None:
        if frame.offset >= self.expected:
            self.gaps += frame.offset - self.expected
            self.expected = frame.offset + 1
            self.reports.append(frame.payload)


@asynccontextmanager
async def running(server: Server | None = None) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="no") as folder:
        server = server or Server("")
        server.path = str(Path(folder, "link"))
        async with unix_serve(server.handle, server.path, compression=None, close_timeout=0.2):
            yield server


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; the deadline only guards against hanging."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)
