"""Somebody at a serial port, as with pexpect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

HANG = 30.0


class Line:
    """The port's end that an agent opens."""

    def __init__(self, link: Path) -> None:
        self.heard = b""
        self._fd = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    async def expect(self, text: str) -> str:
        """What came up to and with `text`; it is not looked at again."""
        wanted = text.encode()
        async with asyncio.timeout(HANG):
            while wanted not in self.heard:
                self._news.clear()
                await self._news.wait()
        found, _, self.heard = self.heard.partition(wanted)
        return (found + wanted).decode()

    async def ask(self, command: str, prompt: str) -> str:
        """The answer to it alone."""
        self.type(f"{command}\r")
        await self.expect(f"{command}\r\n")
        return (await self.expect(prompt)).removesuffix(prompt)

    def _read(self) -> None:
        self.heard += os.read(self._fd, 65536)
        self._news.set()


@asynccontextmanager
async def at(console: Coroutine[Any, Any, None], link: Path) -> AsyncIterator[Line]:
    """Runs the console on `link` meanwhile."""
    running = asyncio.create_task(console)
    line = None
    try:
        async with asyncio.timeout(HANG):
            while not link.exists():
                await asyncio.sleep(0)
        line = Line(link)
        yield line
        if running.done():
            running.result()
    finally:
        if line is not None:
            line.close()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
