"""netops-agent as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Program:
    """netops-agent with a state folder and no ports but what lies in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.port = folder / "console1"
        self.state = folder / "state"
        own = {name: value for name, value in os.environ.items() if not name.startswith("NETOPS_")}
        self.environment = {
            **own,
            "NETOPS_AGENT_STATE": str(self.state),
            "NETOPS_AGENT_PORTS_EXCLUDE": "*",
            "NETOPS_AGENT_PORTS_EXTRA": str(self.port),
        }

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pi_agent", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    @contextmanager
    def running(self, **environment: str) -> Iterator[None]:
        command = [sys.executable, "-m", "pi_agent", "run"]
        with subprocess.Popen(command, env=self.environment | environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield
                assert process.poll() is None
            finally:
                process.terminate()
