"""python -m lab.pi: a machine with serial consoles beside the lab, on which the real netops-agent enrols and runs.

Its adapters are pseudo-terminals. On each simulated device (lab/router.py) answers; where FRR is installed there is one
more, on which its vtysh runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from lab.router import Router

AGENT = [sys.executable, "-m", "pi_agent"]
AGAIN_S = 1.0
PR_SET_PDEATHSIG = 1


class Terminal:
    """The far end of one port's cable, with what answers there; `link` leads to the terminal that the agent opens."""

    def __init__(self, link: Path) -> None:
        self._end, self._port = os.openpty()
        tty.setraw(self._port)
        os.set_blocking(self._end, False)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._port))
        self.keys = asyncio.StreamReader()
        asyncio.get_running_loop().add_reader(self._end, self._read)

    def say(self, text: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: as on a line without flow control it is lost
            os.write(self._end, text)

    def _read(self) -> None:
        self.keys.feed_data(os.read(self._end, 4096))


async def router(name: str, link: Path, boot_s: float = 4.0) -> None:
    """A simulated device on a port, until cancelled."""
    terminal = Terminal(link)
    await Router(name, terminal.keys, terminal.say, boot_s).run()


async def program(command: list[str], link: Path) -> None:
    """A real program on a port, until cancelled; it is started by Enter, and again when it has ended."""
    terminal = Terminal(link)
    while True:
        terminal.say(b"\r\nPress Enter to get started.\r\n")
        while await terminal.keys.readexactly(1) not in b"\r\n":
            pass
        await _on(terminal, command)


async def _on(terminal: Terminal, command: list[str]) -> None:
    """To the program's end, on a pseudo-terminal of its own."""
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (24, 80))
    process = await asyncio.create_subprocess_exec(*command, preexec_fn=_tied(lambda: os.login_tty(its)))
    os.close(its)
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def hear() -> None:
        try:
            terminal.say(os.read(ours, 4096))
        except OSError:  # EIO: nobody has its end open any more
            loop.remove_reader(ours)
            over.set()

    async def type_on() -> None:
        while True:
            os.write(ours, await terminal.keys.read(256))

    loop.add_reader(ours, hear)
    typing = asyncio.create_task(type_on())
    try:
        await over.wait()
        await process.wait()
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)  # keys are another's from here on
        loop.remove_reader(ours)
        os.close(ours)


async def run(state: Path, server: str, token: Path, names: list[str]) -> None:
    """Until SIGTERM or SIGINT."""
    consoles = {state / name: router(name, state / name) for name in names}
    if vtysh := shutil.which("vtysh"):
        consoles[state / "FRR"] = program([vtysh], state / "FRR")
    environment = {
        **os.environ,
        "NETOPS_AGENT_STATE": str(state / "agent"),
        "NETOPS_AGENT_PORTS_EXCLUDE": "*",
        "NETOPS_AGENT_PORTS_EXTRA": " ".join(map(str, consoles)),
    }
    async with asyncio.TaskGroup() as group:
        for console in consoles.values():
            group.create_task(console)
        while not (state / "agent" / "enrolled.json").exists():
            if token.exists():
                await _agent([*AGENT, "enrol", server, "-"], environment, token.read_bytes())
            await asyncio.sleep(AGAIN_S)
        token.unlink(missing_ok=True)
        while True:
            await _agent([*AGENT, "run"], environment)
            await asyncio.sleep(AGAIN_S)


async def _agent(command: list[str], environment: dict[str, str], told: bytes | None = None) -> None:
    """Run to its end, which is at the latest ours."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=_tied()
    )
    try:
        await process.communicate(told)
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


def _tied(also: Callable[[], None] | None = None) -> Callable[[], None]:
    """What a child does before it becomes the program: it ends with us."""
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def tied() -> None:
        if also:
            also()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return tied


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.pi", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder of what the machine keeps")
    parser.add_argument("--server", required=True, help="https://host:port of the gateway")
    parser.add_argument("--token", type=Path, required=True, help="file of the join token; gone once it is spent")
    parser.add_argument("ports", nargs="+", help="names of the consoles")
    options = parser.parse_args()

    async def until_stopped() -> None:
        task = asyncio.create_task(run(options.state, options.server, options.token, options.ports))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await asyncio.wait([task])

    asyncio.run(until_stopped())
    return 0


if __name__ == "__main__":
    sys.exit(main())
