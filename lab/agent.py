"""The program that runs inside one node's namespace, restarted when it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

from lab.namespace import adopt_child

FIRST_BACKOFF, LAST_BACKOFF = 0.5, 15.0
STEADY = 30.0
"""Seconds after which a run counts as a success and the back-off starts over."""
STOP_TIMEOUT = 2.0


class Agent:
    """Keeps one command running in a network namespace."""

    def __init__(self, loop: asyncio.AbstractEventLoop, node: str, namespace_fd: int, command: list[str]) -> None:
        self._loop, self._command, self._namespace_fd = loop, command, namespace_fd
        self.node = node
        self.restarts = 0
        self._backoff = FIRST_BACKOFF
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self) -> None:
        """Raises OSError if the command cannot be run at all."""
        parent = os.getpid()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: adopt_child(self._namespace_fd, self.node, parent),
        )
        self._started = self._loop.time()
        pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(pidfd, self._ended, self._process, pidfd)

    def status(self) -> dict[str, Any]:
        pid = self._process.pid if self._process and self._process.returncode is None else None
        return {"node": self.node, "pid": pid, "restarts": self.restarts}

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        deadline = self._loop.time() + STOP_TIMEOUT
        while process.poll() is None and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        process.kill()
        process.wait()

    def _ended(self, process: subprocess.Popen[bytes], pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        if process is not self._process:
            return
        code = process.wait()
        if self._loop.time() - self._started > STEADY:
            self._backoff = FIRST_BACKOFF
        self._retry(f"ended with {code}")

    def _restart(self) -> None:
        if self._process is None:
            return
        self.restarts += 1
        try:
            self.start()
        except OSError as error:
            self._retry(f"cannot start: {error.strerror}")

    def _retry(self, reason: str) -> None:
        print(f"lab: {self._command[0]} in {self.node} {reason}", file=sys.stderr, flush=True)
        self._loop.call_later(self._backoff, self._restart)
        self._backoff = min(self._backoff * 2, LAST_BACKOFF)
