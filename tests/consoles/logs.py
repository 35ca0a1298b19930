"""A port whose log a test writes itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from agents.services import agent_create
from consoles.history import folder_of
from consoles.models import ConsolePort
from consoles.store import Log
from core.scope import team_scope
from tenancy.models import Team

T0 = 1_790_000_000_000_000
"""Microseconds."""
Say = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path, settings: Any) -> Path:
    settings.CONSOLE_STORE = tmp_path / "consoles"
    return tmp_path / "consoles"


@pytest.fixture
def port(team: Team, store: Path) -> ConsolePort:
    return port_of(team, "R1")


def port_of(team: Team, name: str) -> ConsolePort:
    with team_scope(team.pk):
        agent = agent_create(name=f"pi of {name}", public_key=name.encode().hex().rjust(64, "0"))
        return ConsolePort.objects.create(agent=agent, name=f"/dev/serial/by-path/{name}", title=f"{name} console")


class Written:
    """The log of a port; `say` makes bytes come so many seconds after T0, some missing before them."""

    def __init__(self, port: ConsolePort, epoch: int = 1) -> None:
        assert port.team_id
        self.folder = folder_of(port.team_id, port.pk)
        self.log = Log(self.folder, 1 << 30)
        self.log.own(epoch)

    def say(self, data: bytes, seconds: float, missing: int = 0) -> int:
        """Returns where they begin."""
        start = self.log.end + missing
        with patch.object(time, "time_ns", lambda: (T0 + int(seconds * 1e6)) * 1000):
            self.log.append(start, data)
        return start


@pytest.fixture
def say(port: ConsolePort) -> Iterator[Say]:
    written = Written(port)
    yield written.say
    written.log.close()
