"""python -m lab.pi: a machine with serial consoles beside the lab, on which the real netops-agent enrols and runs.

Its adapters are pseudo-terminals, and what answers on them stands in for routers: a prompt, an echo, two commands.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tty
from pathlib import Path

AGENT = [sys.executable, "-m", "pi_agent"]
AGAIN_S = 1.0
PR_SET_PDEATHSIG = 1


class Console:
    """One port; `link` leads to the terminal that the agent opens."""

    def __init__(self, name: str, link: Path) -> None:
        self.name = name
        self._line = b""
        self._router, self._port = os.openpty()
        tty.setraw(self._port)
        os.set_blocking(self._router, False)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._port))
        asyncio.get_running_loop().add_reader(self._router, self._read)

    def _read(self) -> None:
        for byte in os.read(self._router, 4096):
            if byte in b"\r\n":
                self._say(b"\r\n" + self._answer(self._line.decode(errors="replace").strip()) + self._prompt())
                self._line = b""
            elif len(self._line) < 200:
                self._line += bytes([byte])
                self._say(bytes([byte]))

    def _prompt(self) -> bytes:
        return f"{self.name}> ".encode()

    def _answer(self, command: str) -> bytes:
        known = {"": "", "show name": f"{self.name}\r\n", "help": "show name, help\r\n"}
        return known.get(command, f"% Unknown command: {command}\r\n").encode()

    def _say(self, text: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: as on a line without flow control it is lost
            os.write(self._router, text)


async def run(state: Path, server: str, token: Path, names: list[str]) -> None:
    """Until SIGTERM or SIGINT."""
    links = [state / name for name in names]
    for name, link in zip(names, links, strict=True):
        Console(name, link)
    environment = {
        **os.environ,
        "NETOPS_AGENT_STATE": str(state / "agent"),
        "NETOPS_AGENT_PORTS_EXCLUDE": "*",
        "NETOPS_AGENT_PORTS_EXTRA": " ".join(map(str, links)),
    }
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
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def tied() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=tied
    )
    try:
        await process.communicate(told)
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


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
