"""The simulated device at the other end of a real pseudo-terminal, and a program there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from lab.pi import program, router
from lab.router import BOOT
from tests.lab.serial import Line, at

PROMPT = "R1> "


@asynccontextmanager
async def logged_in(folder: Path) -> AsyncIterator[Line]:
    async with at(router("R1", folder / "R1", boot_s=0.2), folder / "R1") as line:
        await line.expect("R1 login: ")
        line.type("admin\r")
        await line.expect("Password: ")
        line.type("admin\r")
        await line.expect(PROMPT)
        yield line


def run(folder: Path, scenario: Callable[[Line], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with logged_in(folder) as line:
            await scenario(line)

    asyncio.run(whole())


def test_who_does_not_know_the_password_stays_out_and_it_is_not_echoed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at(router("R1", tmp_path / "R1"), tmp_path / "R1") as line:
            line.type("\radmin\r")
            await line.expect("R1 login: \r\nR1 login: admin\r\n")
            line.type("wrong\r")
            assert await line.expect("R1 login: ") == "Password: \r\nLogin incorrect\r\n\r\nR1 login: "
            line.type("admin\r\nadmin\r\n")
            assert "This is R1 of the lab" in await line.expect(PROMPT)
            assert "LOGIN_FAILED" in await line.ask("show log", PROMPT)

    asyncio.run(scenario())


def test_commands_may_be_short_and_unknown_ones_are_told(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        assert await line.ask("show name", PROMPT) == "R1\r\n"
        assert await line.ask("sh na", PROMPT) == "R1\r\n"
        assert "software 7.3.1" in await line.ask("show version", PROMPT)
        assert await line.ask("", PROMPT) == ""
        assert await line.ask("show", PROMPT) == "% Unknown command: show\r\n"
        assert await line.ask("format flash:", PROMPT) == "% Unknown command: format flash:\r\n"
        assert await line.ask("s n", PROMPT) == "R1\r\n"
        assert await line.ask("show \xff", PROMPT) == "% Unknown command: show \xff\r\n"

    run(tmp_path, scenario)


def test_the_line_can_be_edited(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        line.type("show nme\x7f\x7f\x08name\r")
        assert await line.expect(f"\r\nR1\r\n{PROMPT}") == "show nme" + "\b \b" * 3 + f"name\r\nR1\r\n{PROMPT}"
        line.type("format\x15\x1b[A\x1bOPshow name\n")
        assert await line.expect(f"\r\nR1\r\n{PROMPT}") == "format" + "\b \b" * 6 + f"show name\r\nR1\r\n{PROMPT}"
        line.type("format\x03")
        assert await line.expect(PROMPT) == f"format^C\r\n{PROMPT}"

    run(tmp_path, scenario)


def test_what_is_long_comes_in_pages(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        line.type("show interfaces\r")
        assert (await line.expect(" --More-- ")).count("\r\n") == 1 + 23
        line.type("\r")
        assert (await line.expect(" --More-- ")).count("\r\n") == 1
        line.type(" ")
        assert (await line.expect(PROMPT)).count("\r\n") == 42 - 24
        for ends in "q\x03":
            line.type("show interfaces\r")
            await line.expect(" --More-- ")
            line.type(ends)
            assert "ge-0" not in await line.expect(PROMPT)
        assert await line.ask("terminal length 0", PROMPT) == ""
        assert (await line.ask("show interfaces", PROMPT)).count("\r\n") == 42

    run(tmp_path, scenario)


def test_a_reload_boots_and_asks_who_is_there(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        line.type("reload\r")
        await line.expect("Proceed with reload? [confirm]")
        line.type("n")
        await line.expect(PROMPT)
        line.type("reload\r\rtyped meanwhile\r")
        booting = await line.expect("R1 login: ")
        places = [booting.index(text) for text in ("%SYS-5-RELOAD", *BOOT, "%LINK-3-UPDOWN")]
        assert places == sorted(places)
        assert "meanwhile" not in booting

    run(tmp_path, scenario)


def test_a_break_is_noticed(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        line.type("show\0")
        assert "%SYS-5-BREAK" in await line.expect("R1 login: ")
        line.type("admin\radmin\rreload\r\r")
        await line.expect(BOOT[0])
        line.type("\0")
        await line.expect("loader> ")
        line.type("show name\r")
        await line.expect("loader> ")
        line.type("boot\r")
        await line.expect(BOOT[0])
        await line.expect("R1 login: ")

    run(tmp_path, scenario)


def test_exit_logs_out(tmp_path: Path) -> None:
    async def scenario(line: Line) -> None:
        line.type("terminal length 2\rexit\r")
        await line.expect("R1 login: ")
        line.type("admin\radmin\rshow interfaces\r")
        assert (await line.expect(" --More-- ")).partition("show interfaces\r\n")[2].count("\r\n") == 23

    run(tmp_path, scenario)


def test_a_program_has_a_terminal_and_is_started_again(tmp_path: Path) -> None:
    """A stand-in for vtysh: what is tested is what it finds there."""
    asks = "import os, sys; print(sys.stdin.isatty(), os.get_terminal_size()[0]); print(input('vtysh# ')[::-1])"

    async def scenario() -> None:
        link = tmp_path / "FRR"
        async with at(program([sys.executable, "-c", asks], link), link) as line:
            for _ in range(2):
                await line.expect("Press Enter to get started.")
                line.type("\r")
                assert "True 80" in await line.expect("vtysh# ")
                line.type("abc\r")
                await line.expect("cba")

    asyncio.run(scenario())
