"""`netops-agent rotate` against the real gateway: whatever ends it, the agent comes back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from agents import tls
from agents.models import Agent
from core.scope import team_scope
from netops import home
from pi_agent.config import Config
from pi_agent.identity import Identity
from pi_agent.link import Link
from pi_agent.outbox import Outbox
from pi_agent.rotation import Keys, next_to, rotate
from tenancy.models import Team
from tests.agents.conftest import BACKOFF, until, wait_for
from tests.agents.programs import Program

KILLED = """
import os, signal, sys
import pi_agent.rotation as rotation
from pi_agent.__main__ import main

left, files, ask = int(sys.argv[1]), (".agent.key", "agent.key"), rotation.post


def step(event, arguments):
    global left
    written = event == "open" and arguments[2] & os.O_WRONLY and os.path.basename(str(arguments[0])).startswith(files)
    if written or event in ("os.link", "os.remove", "os.rename", "socket.connect", "netops.answered"):
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1


def answered(*arguments):
    told = ask(*arguments)
    sys.audit("netops.answered")
    return told


rotation.post = answered
sys.addaudithook(step)
sys.exit(main(["rotate"]))
"""
"""The program, which kills itself at its nth step."""


def enrolled(team: Team) -> Agent:
    with team_scope(team.pk):
        agent: Agent = Agent.objects.get()
    return agent


def killed_at(step: int, program: Program) -> bool:
    """Whether it came so far."""
    command = [sys.executable, "-c", KILLED, str(step)]
    done = subprocess.run(command, env=program.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def comes_back(keys: Keys, team: Team) -> None:
    """The agent's own link is let in, with whichever key the server knows."""
    before = enrolled(team).epoch

    async def scenario() -> None:
        up = asyncio.Event()

        def welcomed(_: str) -> None:
            keys.accepted()
            up.set()

        link = Link(
            f"wss://127.0.0.1:{home.port('gateway')}/link", keys, print, Outbox(1024), BACKOFF, tls.pin(),
            on_up=welcomed, on_unknown=keys.refused,
        )  # fmt: skip
        task = asyncio.create_task(link.run())
        await until(lambda: up.is_set() and enrolled(team).epoch > before)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert enrolled(team).public_key == keys.public.hex()


def test_killed_at_any_step_the_agent_comes_back_and_a_second_call_ends_it(program: Program, team: Team) -> None:
    file = program.state / "agent.key"
    step, seen = 0, set()
    while killed_at(step, program):
        waits, known = next_to(file).exists(), enrolled(team).public_key
        seen.add((waits, known == Identity.load(file).public.hex()))
        comes_back(Keys(file), team)
        assert Identity.load(file).public.hex() == known, "what the server knows is kept"
        before = enrolled(team).public_key
        assert rotate(Config(state=str(program.state))).hex() == enrolled(team).public_key
        assert enrolled(team).public_key == Identity.load(file).public.hex() != before
        assert not next_to(file).exists()
        step += 1
    assert step >= 6
    assert seen == {(False, True), (True, True), (True, False)}, "before it waits, while it waits, once it is taken"


@pytest.mark.parametrize("link", ["", "none"])
def test_an_agent_that_runs_goes_on_with_the_new_key(program: Program, team: Team, link: str) -> None:
    with program.running(NETOPS_AGENT_LINK=link) if link else program.running():
        wait_for(lambda: enrolled(team).registered)
        before = enrolled(team)
        done = program.call("rotate")
        after = enrolled(team)
        assert done.stdout == f"The new key's fingerprint is {after.fingerprint}\n", done.stderr
        assert after.public_key != before.public_key
        if not link:
            wait_for(lambda: enrolled(team).epoch >= before.epoch + 2)  # the order, and the link that came back
    with program.running(NETOPS_AGENT_LINK=link) if link else program.running():
        wait_for(lambda: enrolled(team).registered > after.registered)  # type: ignore[operator]


def test_an_agent_that_was_put_out_rotates_no_more(program: Program, team: Team) -> None:
    with team_scope(team.pk):
        Agent.objects.update(state="revoked")
    done = program.call("rotate")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "not enrolled" in done.stderr
    assert not [path for path in program.state.iterdir() if path.read_text().strip() in done.stderr + done.stdout]


def test_who_is_not_enrolled_is_told_what_to_do(tmp_path: Path) -> None:
    done = Program(tmp_path).call("rotate")
    assert (done.returncode, "netops-agent enrol URL TOKEN" in done.stderr) == (1, True)
