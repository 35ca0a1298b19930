"""The real program against the real gateway: enrol, run, plug in, report without a link."""

from __future__ import annotations

from typing import Any

from agents.models import Agent
from core.scope import team_scope
from tenancy.models import Team
from tests.agents.conftest import SERVER, wait_for
from tests.agents.programs import Program


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
