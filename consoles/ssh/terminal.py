"""A person's end of one SSH session: bytes both ways, lines of ours between them, and lines that are asked for."""

from __future__ import annotations

import re
from typing import Any

import asyncssh

CHUNK = 32 << 10
LINE = 200
_ARROWS = re.compile(r"\x1b(?:\[[ -?]*[@-~]|O.|.)?", re.DOTALL)


class Break(Exception):
    """The client asked for a break (OpenSSH: ~B)."""


class Terminal:
    """`raw`: without a terminal at the other end, bytes pass as they are and our lines go to stderr."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._process = process
        self.raw = process.term_type is None
        self._ahead = b""

    async def read(self) -> bytes:
        """What was typed; empty at its end. Raises Break."""
        if self._ahead:
            typed, self._ahead = self._ahead, b""
            return typed
        while True:
            try:
                return await self._process.stdin.read(CHUNK)
            except asyncssh.BreakReceived:
                raise Break from None
            except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived):
                continue  # a serial line has no size

    async def write(self, data: bytes) -> None:
        """Waits while the client does not take it."""
        self._process.stdout.write(data)
        await self._process.stdout.drain()

    async def say(self, sentence: str) -> None:
        if self.raw:
            self._process.stderr.write(f"netops: {ascii_only(sentence)}\n".encode())
        else:
            await self.write(f"\r\n[{ascii_only(sentence)}]\r\n".encode())

    async def print(self, text: str = "") -> None:
        """Lines as a page of ours has them."""
        end = "\n" if self.raw else "\r\n"
        await self.write("".join(f"{ascii_only(line)}{end}" for line in text.split("\n")).encode())

    async def ask(self, prompt: str) -> str | None:
        """A line as it is typed, with echo; None where whoever types goes (^C, ^D, the end)."""
        await self.write(prompt.encode())
        line = ""
        while True:
            try:
                typed = await self.read()
            except Break:
                continue
            if not typed:
                return None
            text = _ARROWS.sub("", typed.decode("ascii", "ignore"))
            for place, key in enumerate(text):
                if key in "\r\n":
                    self._ahead = text[place + 1 :].encode()
                    await self.write(b"\r\n")
                    return line.strip()
                if key in "\x03\x04":
                    await self.write(b"\r\n")
                    return None
                line = await self._edit(line, key)

    async def _edit(self, line: str, key: str) -> str:
        if key in "\b\x7f" and line:
            await self.write(b"\b \b")
            return line[:-1]
        if key == "\x15":
            await self.write(b"\b \b" * len(line))
            return ""
        if " " <= key <= "~" and len(line) < LINE:
            await self.write(key.encode())
            return line + key
        return line

    def leave(self, status: int) -> None:
        if not self.raw:
            # What the device left on: colours, a hidden cursor, keys of an application, marks around what is pasted.
            self._process.stdout.write(b"\x1b[0m\x1b[!p\x1b[?2004l\r\n")
        self._process.exit(status)


def ascii_only(text: Any) -> str:
    """Names are people's, and a terminal obeys control characters."""
    return "".join(each if " " <= each <= "~" else "?" for each in str(text))
