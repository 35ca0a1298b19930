"""The real program against the real gateway: enrol, run, plug in, report without a link."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from agents import tls
from agents.enrolment import enrolment_token_create
from agents.models import Agent
from core.scope import team_scope
from pi_agent.enrolment import JoinToken
from tenancy.models import Team
from tests.agents.conftest import GatewayProcess, wait_for

SERVER = settings.GATEWAY_URL.replace("wss:", "https:").removesuffix("/link")


class Program:
    """netops-agent with a state folder and no ports but what lies in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.port = folder / "console1"
        own = {name: value for name, value in os.environ.items() if not name.startswith("NETOPS_")}
        self.environment = {
            **own,
            "NETOPS_AGENT_STATE": str(folder / "state"),
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


@pytest.fixture
def program(tmp_path: Path, team: Team, gateway: GatewayProcess) -> Program:
    """Enrolled."""
    cache.clear()
    with team_scope(team.pk):
        secret = enrolment_token_create(name="Sites")[1]
    made = Program(tmp_path)
    token = str(JoinToken(secret, tls.pin()))
    done = made.call("enrol", SERVER, token)
    assert done.returncode == 0, done.stderr
    assert made.call("enrol", SERVER, token).stdout == done.stdout, "the answer may have got lost: it is given again"
    other = Program(tmp_path / "other").call("enrol", SERVER, token)
    assert other.returncode == 1
    assert other.stderr.startswith("netops-agent: the server refuses: ")
    assert secret not in other.stderr
    return made


def row(team: Team) -> Any:
    with team_scope(team.pk):
        return Agent.objects.get()


def test_the_link_comes_up_and_what_is_plugged_in_is_known(program: Program, team: Team) -> None:
    with program.running():
        wait_for(lambda: row(team).online and row(team).registered)
        assert row(team).ports == []
        assert program.call("status").returncode == 0
        program.port.symlink_to("/dev/null")
        wait_for(lambda: row(team).ports)
        assert [port["name"] for port in row(team).ports] == [str(program.port)]
        findings = program.call("doctor").stdout
        assert f"ok     {SERVER} answers and has the pinned key" in findings
        assert "ok     the clock is right" in findings


def test_without_a_link_it_reports_and_a_restart_repeats_no_counter(program: Program, team: Team) -> None:
    told: list[object] = []
    for _ in range(2):
        with program.running(NETOPS_AGENT_LINK="none"):
            wait_for(lambda: row(team).registered not in (None, *told))
            wait_for(lambda: program.call("status").returncode == 0)
        told.append(row(team).registered)
    assert not row(team).online
