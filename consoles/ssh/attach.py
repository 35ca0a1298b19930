"""One person at one console by SSH: output one way, keystrokes and conserver's escapes the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from consoles.hub import Port
from consoles.safe import Safe
from consoles.sessions import Ended, Refused, Session
from consoles.ssh.escapes import HELP, Escapes
from consoles.ssh.terminal import CHUNK, Break, Terminal

REPLAY = 256 << 10
"""Bytes in which the last lines are looked for."""
LINES = {"r": 20, "p": 60}


class Attached:
    def __init__(self, terminal: Terminal, session: Session) -> None:
        self._terminal, self._session = terminal, session
        self._safe, self._escapes = Safe(), Escapes()
        self._spies = False
        self._people: dict[str, Any] = {}
        self._commands: dict[str, Callable[[], Awaitable[None]]] = {
            "a": self._attach,
            "s": self._spy,
            "f": lambda: self._session.ask("take"),
            "+": lambda: self._session.ask("grant"),
            "-": lambda: self._session.ask("refuse"),
            "l0": self._session.send_break,
            "w": self._who,
            "?": lambda: self._terminal.print(f"\n{HELP}"),
            "?!": lambda: self._terminal.say("unknown: ^Ec? tells what there is"),
        }

    async def stay(self) -> str:
        """Until the person leaves or is put out; why, unless it is their own doing."""
        work = (self._show(), self._listen(), self._session.over())
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Ended as end:
            return str(end)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return ""

    async def _show(self) -> None:
        session, terminal = self._session, self._terminal
        while True:
            place = session.place
            offset, data = await session.read(CHUNK)
            while session.messages:
                await self._told(session.messages.popleft())
            if data and offset > place:
                await terminal.say(f"{offset - place} bytes are missing here")
            if data:
                await terminal.write(data if terminal.raw else self._safe.feed(data))

    async def _listen(self) -> None:
        while True:
            try:
                typed = await self._terminal.read()
                if not typed:
                    return
                if self._terminal.raw:
                    await self._session.type(typed)
                    continue
                for command, keys in self._escapes.feed(typed):
                    if command == ".":
                        return
                    await self._do(command, keys)
            except Break:
                await self._do("l0", b"")
            except Refused as refusal:
                await self._terminal.say(str(refusal))

    async def _do(self, command: str, keys: bytes) -> None:
        try:
            if command in LINES:
                await self._replay(LINES[command])
            elif command:
                await self._commands[command]()
            elif self._spies:
                await self._terminal.say("spying: ^Eca to type")
            else:
                await self._session.type(keys)
        except Refused as refusal:
            await self._terminal.say(str(refusal))

    async def _attach(self) -> None:
        if self._spies:
            self._spies = False
            await self._terminal.say("attached" if self._session.writes else "You may look on here, not type.")
        else:
            await self._session.ask("request")

    async def _spy(self) -> None:
        if self._alone():
            await self._session.ask("release")
        self._spies = True
        await self._terminal.say("spying")

    def _alone(self) -> bool:
        return bool((self._people.get("lock") or {}).get("n") == self._session.number)

    def _held(self, lock: dict[str, Any] | None) -> str:
        if lock is None:
            return "everybody may type again"
        if self._alone():
            return "you have this console to yourself: ^Ecs lets go of it"
        return f"{lock['who']} has this console to themselves"

    async def _who(self) -> None:
        does = {"alone": "has it alone", "looking": "looks on", "typing": "types", "ready": "may type"}
        lines = [
            f" {each['name']} by {each['via']}: {does.get(each['does'], each['does'])}"
            + (" (you)" if each["n"] == self._session.number else "")
            for each in self._people.get("people", [])
        ]
        await self._terminal.print("\n" + "\n".join(lines))

    async def _replay(self, lines: int) -> None:
        text = await asyncio.to_thread(last_lines, self._session.port, self._session.place, lines)
        await self._terminal.write(b"\r\n" + Safe().feed(text))

    async def _told(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "hello" | "state" if message["trouble"]:
                await self._terminal.say(f"this port {message['trouble']}".replace("this port its", "its"))
            case "state":
                await self._terminal.say("this port is open")
            case "hello" if not message["writes"]:
                await self._terminal.say("You may look on here, not type.")
            case "writes":
                await self._terminal.say("you may type" if message["writes"] else "You may look on here, not type.")
            case "told" | "refused":
                await self._terminal.say(message["sentence"])
            case "people":
                before, self._people = self._people.get("lock"), message
                if (now := message["lock"]) != before:
                    await self._terminal.say(self._held(now))


def last_lines(port: Port, end: int, lines: int) -> bytes:
    """The last so many lines before `end`, from the log."""
    place, text = max(port.log.first, end - REPLAY), b""
    while place < end:
        offset, data = port.log.read(place, min(CHUNK, end - place))
        if not data or offset >= end:
            break
        text += data
        place = offset + len(data)
    return b"".join(text.splitlines(keepends=True)[-lines:])
