"""A machine far away: the real netops-agent, behind a line that can be cut without a word."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from pi_agent.enrolment import JoinToken
from pi_agent.state import Enrolled, Status
from tests.agents.programs import Program
from tests.installation import wait_for

AS_ANOTHER_BOOT = """
import sys, uuid
import pi_agent.link

boot = uuid.UUID(sys.argv[1])
pi_agent.link.boot_id = lambda: boot
from pi_agent.__main__ import main

sys.exit(main(["run"]))
"""


class Line:
    """TCP to the gateway. `cut`: nothing passes and nobody is told, until `mend`."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.clear)

    def mend(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = server.sockets[0].getsockname()[1]
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
            ways = ((reader, far_writer), (far_reader, writer))
            tasks = [asyncio.create_task(self._pass(*way)) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            far_writer.close()
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            await self._flows.wait()


class Machine(Program):
    """One that reaches the gateway by `line`; what it keeps lies in `folder`."""

    def __init__(self, folder: Path, line: Line, token: str, boot: uuid.UUID | None = None) -> None:
        super().__init__(folder)
        self._folder, self._line, self._token, self._boot = folder, line, token, boot
        self.server = f"https://127.0.0.1:{line.port}"
        self.pin = JoinToken.parse(token).pin
        self._process: subprocess.Popen[bytes] | None = None
        self.environment |= {
            "NETOPS_AGENT_LINK": f"wss://127.0.0.1:{line.port}/link",
            "NETOPS_AGENT_PIN": str(JoinToken.parse(token)).partition(".")[2],
        }

    def enrol(self) -> str:
        """Our name at the server."""
        done = self.call("enrol", self.server, self._token)
        assert done.returncode == 0, done.stderr
        enrolled = Enrolled.load(self.state)
        assert enrolled
        return enrolled.agent

    def start(self) -> None:
        command = [sys.executable, "-m", "pi_agent", "run"]
        if self._boot:
            command = [sys.executable, "-c", AS_ANOTHER_BOOT, str(self._boot)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environment, stderr=log)

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def clone(self, folder: Path) -> Machine:
        """The same card in another machine."""
        shutil.copytree(self.state, folder / "state")
        return Machine(folder, self._line, self._token, uuid.uuid4())

    @property
    def status(self) -> Status:
        return Status.load(self.state)

    def up(self, after: float | None = None) -> float:
        """Since when the link is up; waits for one that came up after `after`."""

        def since() -> float | None:
            now = self.status.since
            return now if after is None or (now and now > after) else None

        return float(wait_for(f"the link of {self._folder.name}", since, 60) or 0)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()


class Table:
    """What was done to an agent, what has to come of it, and whether it did."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str]] = []

    @contextlib.contextmanager
    def row(self, done: str, outcome: str) -> Iterator[None]:
        self._rows.append((done, outcome, "NO"))
        yield
        self._rows[-1] = (done, outcome, "yes")

    def __str__(self) -> str:
        rows = [("What was done", "What has to come of it", "It did"), *self._rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
