"""A small router on a serial line: login, a command line with a pager, a log, and a reload with boot messages.

It sees what a UART gives it. A break arrives as a zero byte, as from a UART under neither IGNBRK nor BRKINT
(termios(3)): at a prompt it is logged, while the router boots it leads to the boot loader. On a pseudo-terminal
tcsendbreak(3) does nothing, so there a break is that byte or nothing. Speed and parity a pseudo-terminal does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

USER, PASSWORD = "admin", "admin"
PAGE = 23
"""Lines of a page; `terminal length` changes it."""
MORE = b" --More-- "
BREAK, INTERRUPT, ERASE_LINE, ENTER, ESCAPE = b"\0", b"\x03", b"\x15", b"\r\n", b"\x1b"
ERASE = b"\x08\x7f"
BOOT = (
    "System bootstrap, version 4.2 (lab)",
    "CPU: 2 cores at 1.6 GHz, 4096 MB of memory",
    "Testing memory ... passed",
    'Loading "flash:/router-7.3.1.bin" ' + "#" * 32 + " [OK]",
    "Verifying the image ... signature is valid",
    "Starting the kernel",
    "Mounting /dev/mmcblk0p2 ... clean, 1284/65536 files",
    "Line card 0: 6 ports found",
    "Reading the configuration ... 412 lines applied",
)


class Interrupted(Exception):
    """Ctrl-C was typed."""


class Broken(Exception):
    """A break came."""


class Router:
    """`keys` gives what arrives on the line, `say` puts bytes on it. `boot_s`: how long a reload takes."""

    def __init__(
        self, name: str, keys: asyncio.StreamReader, say: Callable[[bytes], None], boot_s: float = 4.0
    ) -> None:
        self._name, self._keys, self._put, self._boot_s = name, keys, say, boot_s
        self._log: list[str] = []
        self._page = PAGE
        self._over = False  # a line feed that follows belongs to the carriage return before it
        self._logged_in = False
        self._note("%SYS-5-RESTART: System restarted")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._logged_in, self._page = False, PAGE
            try:
                await self._login()
                while self._logged_in:
                    await self._command()
            except Broken:
                self._say("")
                self._tell("%SYS-5-BREAK: A break was received on the console")

    async def _login(self) -> None:
        while not self._logged_in:
            try:
                user = await self._line(f"{self._name} login: ")
                if not user:
                    continue
                password = await self._line("Password: ", echo=False)
            except Interrupted:
                continue
            if (user, password) == (USER, PASSWORD):
                self._logged_in = True
                self._note(f"%SEC-5-LOGIN: {USER} logged in on the console")
                self._say(f"\r\nThis is {self._name} of the lab. `help` lists what it knows.")
            else:
                self._note("%SEC-4-LOGIN_FAILED: Login failed on the console")
                self._say("Login incorrect\r\n")

    async def _command(self) -> None:
        with suppress(Interrupted):
            words = (await self._line(f"{self._name}> ")).split()
            if words:
                await self._do(words)

    async def _do(self, words: list[str]) -> None:
        command, given = " ".join(words), words
        if words[-1].isdigit():
            given = [*words[:-1], "N"]
        found = [known for known in _COMMANDS if _means(given, known.split())]
        if found and len(found) == 1:
            await _COMMANDS[found[0]](self, words)
        else:
            self._say(f"% {'Ambiguous' if found else 'Unknown'} command: {command}")

    async def _show_name(self, words: list[str]) -> None:
        self._say(self._name)

    async def _show_version(self, words: list[str]) -> None:
        self._say(f"{self._name}, router of the lab, software 7.3.1\r\nSerial number LAB-{self._name}, 6 interfaces")

    async def _show_interfaces(self, words: list[str]) -> None:
        await self._pages([line for number in range(6) for line in _interface(number)])

    async def _show_log(self, words: list[str]) -> None:
        await self._pages(self._log)

    async def _terminal_length(self, words: list[str]) -> None:
        self._page = int(words[-1])

    async def _exit(self, words: list[str]) -> None:
        self._logged_in = False
        self._say("")

    async def _help(self, words: list[str]) -> None:
        await self._pages(list(_COMMANDS))

    async def _reload(self, words: list[str]) -> None:
        self._say("Proceed with reload? [confirm]", end="")
        answer = await self._key()
        self._say("")
        if answer not in (b"\r", b"\n", b"y", b"Y"):
            return
        self._logged_in = False
        self._tell("%SYS-5-RELOAD: Reload requested on the console")
        try:
            await self._boot()
        except Broken:
            await self._loader()
            await self._boot()
        self._log.clear()
        self._note("%SYS-5-RESTART: System restarted")
        self._tell("%LINK-3-UPDOWN: Interface ge-0/0/1 changed state to up")

    async def _boot(self) -> None:
        for line in ("", *BOOT):
            self._say(line)
            end = asyncio.get_running_loop().time() + self._boot_s / len(BOOT)
            while (left := end - asyncio.get_running_loop().time()) > 0:
                with suppress(TimeoutError, Interrupted):
                    await asyncio.wait_for(self._key(), left)  # what is typed now is lost

    async def _loader(self) -> None:
        self._say("\r\nThe boot was interrupted. `boot` goes on.")
        while True:
            with suppress(Interrupted, Broken):
                if await self._line("loader> ") == "boot":
                    return

    async def _pages(self, lines: list[str]) -> None:
        left = self._page
        for line in lines:
            if self._page and not left:
                self._say(MORE.decode(), end="")
                try:
                    key = await self._key()
                finally:
                    self._put(b"\b" * len(MORE) + b" " * len(MORE) + b"\b" * len(MORE))
                if key in b"qQ":
                    return
                left = 1 if key in ENTER else self._page
            self._say(line)
            left -= 1

    async def _line(self, prompt: str, *, echo: bool = True) -> str:
        """What is typed up to Enter."""
        self._say(prompt, end="")
        typed = b""
        while (key := await self._key()) not in (b"\r", b"\n"):
            if key in ERASE or key == ERASE_LINE:
                kept = b"" if key == ERASE_LINE else typed[:-1]
                if echo:
                    self._put(b"\b \b" * (len(typed) - len(kept)))
                typed = kept
            elif key >= b" " and len(typed) < 200:
                typed += key
                if echo:
                    self._put(key)
        self._say("")
        return typed.decode(errors="replace").strip()

    async def _key(self) -> bytes:
        """One; arrows and the like are none. Raises Interrupted, Broken."""
        while True:
            key = await self._keys.readexactly(1)
            over, self._over = self._over, key == b"\r"
            if key == INTERRUPT:
                self._say("^C")
                raise Interrupted
            if key == BREAK:
                raise Broken
            if key == ESCAPE:
                if await self._keys.readexactly(1) in b"[O":
                    while await self._keys.readexactly(1) < b"@":
                        pass
            elif not (over and key == b"\n"):
                return key

    def _note(self, message: str) -> None:
        self._log.append(f"{datetime.now(UTC):%b %d %H:%M:%S} {self._name} {message}")

    def _tell(self, message: str) -> None:
        """Note it, and show it on the console as it happens."""
        self._note(message)
        self._say(self._log[-1])

    def _say(self, text: str, end: str = "\r\n") -> None:
        self._put((text + end).encode())


def _means(words: list[str], command: list[str]) -> bool:
    """Words may be short: `sh ver`."""
    return len(words) == len(command) and all(word.startswith(each) for each, word in zip(words, command, strict=True))


def _interface(number: int) -> list[str]:
    seed = 7919 * (number + 1)
    return [
        f"ge-0/0/{number} is up, line protocol is up",
        f"  Hardware is Gigabit Ethernet, address is 0200.0000.00{number:02x}",
        "  MTU 1500 bytes, bandwidth 1000000 kbit/s, full duplex, auto-negotiation on",
        f"  Last input 00:00:0{number % 5}, output 00:00:00, counters never cleared",
        f"  {seed * 13} packets input, {seed * 9177} bytes, 0 CRC, 0 frame, 0 overrun",
        f"  {seed * 11} packets output, {seed * 8311} bytes, 0 collisions, 0 underruns",
        "",
    ]


_COMMANDS = {
    "show name": Router._show_name,
    "show version": Router._show_version,
    "show interfaces": Router._show_interfaces,
    "show log": Router._show_log,
    "terminal length N": Router._terminal_length,
    "reload": Router._reload,
    "help": Router._help,
    "exit": Router._exit,
}
