"""A serial port as its agent has it, on real pseudo-terminals."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any

import pytest

from pi_agent.frames import Frame, FrameError, Type
from pi_agent.lines import ModemLines, Settings
from pi_agent.tty import WAITING, Tty

HANG = 30.0
USUAL = Settings()
HOLD = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); print(1, flush=True); input()"
)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test of pytest's that runs in an event loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


class Cable:
    """`far` is the device's end; the agent opens `near`."""

    def __init__(self) -> None:
        self.far, self.near_fd = os.openpty()
        tty.setraw(self.near_fd)
        os.set_blocking(self.far, False)
        self.near = os.ttyname(self.near_fd)

    def unplug(self) -> None:
        for fd in (self.far, self.near_fd):
            os.close(fd)

    def control(self) -> list[int]:
        """(input, output, control, local, input speed, output speed) as the port's owner set them."""
        return termios.tcgetattr(self.far)[:6]


@pytest.fixture
def cable() -> Iterator[Cable]:
    made = Cable()
    yield made
    with suppress(OSError):
        made.unplug()


async def until(what: str, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG):
        while not holds():
            await asyncio.sleep(0.01)
    assert holds(), what


class Seen:
    def __init__(self) -> None:
        self.bytes = b""
        self.states: list[str] = []

    def take(self, data: bytes) -> None:
        self.bytes += data


@asynccontextmanager
async def opened(device: str | None, settings: Settings = USUAL) -> AsyncIterator[tuple[Tty, Seen]]:
    seen = Seen()
    port = Tty("R1", seen.take, seen.states.append)
    port.use(device, settings)
    try:
        yield port, seen
    finally:
        port.close()


@in_loop
async def test_bytes_go_both_ways_and_none_is_changed(cable: Cable) -> None:
    every = bytes(range(256))
    async with opened(cable.near) as (port, seen):
        assert seen.states == [""]
        os.write(cable.far, every)
        await until("all came", lambda: seen.bytes == every)
        assert port.write(every) == ""
        assert os.read(cable.far, 4096) == every


@pytest.mark.parametrize(
    ("settings", "speed", "flags"),
    [
        (Settings(9600), termios.B9600, termios.CS8),
        (Settings(115200, "even"), termios.B115200, termios.CS8 | termios.PARENB),
        (Settings(300, "odd"), termios.B300, termios.CS8 | termios.PARENB | termios.PARODD),
        (Settings(9600, "none", "rtscts"), termios.B9600, termios.CS8 | termios.CRTSCTS),
    ],
)
@in_loop
async def test_the_port_is_as_it_was_set_up(cable: Cable, settings: Settings, speed: int, flags: int) -> None:
    async with opened(cable.near) as (port, seen):
        port.use(cable.near, settings)
        _, output, control, local, *speeds = cable.control()
        assert speeds == [speed, speed]
        # A pseudo-terminal has no parity: Linux clears the flag (pty.c, pty_set_termios).
        ours = termios.CSIZE | termios.CRTSCTS
        assert control & ours == flags & ours
        assert (output, local) == (0, 0)
        assert seen.states == [""]


@in_loop
async def test_software_flow_control_is_set(cable: Cable) -> None:
    async with opened(cable.near, Settings(flow="xonxoff")):
        assert cable.control()[0] == termios.IXON | termios.IXOFF


@in_loop
async def test_a_port_that_another_program_locked_is_told_and_opened_when_it_is_free(cable: Cable) -> None:
    other = os.open(cable.near, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX)
    async with opened(cable.near) as (port, seen):
        assert seen.states == ["is used by another program: end that one"]
        assert port.write(b"x") == "R1 is used by another program: end that one"
        os.close(other)
        await until("it is open", lambda: seen.states[-1] == "")


@in_loop
async def test_a_port_with_a_login_on_it_is_left_alone(cable: Cable) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=cable.near_fd, stdout=subprocess.PIPE, start_new_session=False
    ) as getty:
        assert getty.stdout
        assert getty.stdout.readline()
        try:
            async with opened(cable.near) as (_, seen):
                assert seen.states == ["is used by another program: end that one"]
                getty.kill()
                getty.wait()
                await until("it is open", lambda: seen.states[-1] == "")
        finally:
            getty.kill()


@in_loop
async def test_an_adapter_is_unplugged_and_comes_back_under_another_device(cable: Cable) -> None:
    async with opened(cable.near) as (port, seen):
        cable.unplug()
        await until("it is told", lambda: len(seen.states) > 1)
        assert "unplugged" in seen.states[1] or "not plugged in" in seen.states[1]
        port.use(None, USUAL)
        assert seen.states[-1] == "is not plugged in"
        again = Cable()
        try:
            port.use(again.near, USUAL)
            assert seen.states[-1] == ""
            os.write(again.far, b"back")
            await until("it is read", lambda: seen.bytes == b"back")
        finally:
            again.unplug()


@in_loop
async def test_a_port_that_takes_nothing_refuses_the_rest_and_loses_none_of_what_it_took(cable: Cable) -> None:
    async with opened(cable.near) as (port, _):
        taken = b""
        for number in range(1000):
            block = bytes([number % 256]) * 1024
            if trouble := port.write(block):
                break
            taken += block
        assert trouble == "R1 does not take more now: 1024 bytes were not written"
        assert len(taken) >= WAITING
        heard = b""

        def all_heard() -> bool:
            nonlocal heard
            with suppress(BlockingIOError):
                heard += os.read(cable.far, 65536)
            return len(heard) >= len(taken)

        await until("all is written", all_heard)
        assert heard == taken


@in_loop
async def test_nothing_is_written_to_a_port_that_is_not_there() -> None:
    async with opened(None) as (port, seen):
        assert seen.states == ["is not plugged in"]
        assert port.write(b"x") == "R1 is not plugged in"
        assert port.send_break() == "R1 is not plugged in"


@in_loop
async def test_a_break_holds_up_nothing(cable: Cable) -> None:
    async with opened(cable.near) as (port, seen):
        assert port.send_break() == ""
        os.write(cable.far, b"on")
        await until("it is read", lambda: seen.bytes == b"on")


@in_loop
async def test_modem_lines_are_told_where_there_are_any(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a UART: a pseudo-terminal has no such lines."""
    port = Tty("R1", lambda data: None, lambda trouble: None)
    assert port.modem() == {}
    port.use(cable.near, USUAL)
    assert port.modem() == {}
    real = fcntl.ioctl

    def uart(fd: int, request: int, *rest: Any) -> Any:
        if request == termios.TIOCMGET:
            return struct.pack("i", termios.TIOCM_DSR | termios.TIOCM_CTS | termios.TIOCM_RTS)
        return real(fd, request, *rest)

    monkeypatch.setattr("fcntl.ioctl", uart)
    assert port.modem() == {"dcd": False, "dsr": True, "cts": True}
    port.close()


@pytest.mark.parametrize("lines", [None, [], {"ri": True}, {"dcd": 1}, {str(each): True for each in range(9)}])
def test_modem_lines_are_no_others(lines: Any) -> None:
    with pytest.raises(FrameError, match="lines must be"):
        ModemLines.parse(Frame(Type.MODEM, payload=json.dumps({"lines": lines}).encode()))
    told = ModemLines({"dcd": True, "dsr": False})
    assert ModemLines.parse(told.frame()) == told
