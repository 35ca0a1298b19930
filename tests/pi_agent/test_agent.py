"""The whole program: its command line, and a run against a server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pi_agent.enrolment import JoinToken, fingerprint
from pi_agent.frames import PROBING, Error, Type
from pi_agent.identity import Identity
from pi_agent.prober.report import decode
from tests.pi_agent.namespace import ROOT, Router, in_namespace, make_plan, make_walk
from tests.pi_agent.server import DEADLINE, Server, running, until
from tests.pi_agent.web import ENROLLED, serving


def agent(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pi_agent", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_keygen_prints_the_public_key(tmp_path: Path) -> None:
    done = agent("keygen", str(tmp_path / "key"))
    assert done.returncode == 0
    assert done.stdout == Identity.load(tmp_path / "key").public.hex() + "\n"
    again = agent("keygen", str(tmp_path / "key"))
    assert again.returncode == 1
    assert again.stderr == f"netops-agent: {tmp_path}/key exists; remove it first, or name another file\n"


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--link", "http://x"], {"NETOPS_AGENT_KEY": "/none"}, "link 'http://x' must be ws://host:port/link"),
        ([], {"NETOPS_AGENT_KEY": "/none", "NETOPS_AGENT_LINK": "ws://x/link"}, "no key file /none; make one with"),
        ([], {"NETOPS_AGENT_STATE": "/none"}, "this agent is not enrolled: run netops-agent enrol URL TOKEN"),
        (["--link", "ws://x/link"], {"NETOPS_AGENT_STATE": "/none"}, "no key file /none/agent.key; make one with"),
        (["--config", "/none"], {}, "there is no file /none"),
        ([], {"NETOPS_AGENT_PIN": "x"}, "NETOPS_AGENT_PIN cannot be used: it must be the SHA-256"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = agent("run", *arguments, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_enrolling_says_what_comes_next(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        token = str(JoinToken("0123456789abcdef" * 2, web.pin))
        state = ("--state", str(tmp_path / "state"))
        done = agent("enrol", web.url, token, *state)
        assert done.returncode == 0, done.stderr
        key = Identity.load(tmp_path / "state/agent.key").public
        assert done.stdout.splitlines() == [
            f"Enrolled as pi-rack4; the key's fingerprint is {fingerprint(key)}",
            "Then start the agent: sudo systemctl enable --now netops-agent (or netops-agent run)",
        ]
        web.answer = json.dumps(ENROLLED | {"state": "waiting"}).encode()
        assert "compares the fingerprint" in agent("enrol", web.url, token, *state).stdout
        web.status = 500
        for arguments in ((web.url, token), (token, web.url), (web.url, token[:-1]), (web.url, "-")):
            failed = agent("enrol", *arguments, *state)
            assert failed.returncode == 1
            assert len(failed.stderr.splitlines()) == 1
            assert token[:32] not in failed.stderr + failed.stdout


def test_doctor_says_what_is_wrong(tmp_path: Path) -> None:
    done = agent("doctor", "--state", str(tmp_path), NETOPS_AGENT_PORTS_EXCLUDE="*")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"WRONG  no key file {tmp_path}/agent.key; make one with: netops-agent keygen {tmp_path}/agent.key",
        "WRONG  this agent is not enrolled: run netops-agent enrol URL TOKEN with a token of your team",
        "WRONG  the agent does not run: systemctl enable --now netops-agent, or see journalctl -u netops-agent",
        "ok     there are no serial ports",
    ]


def test_the_status_of_a_run(tmp_path: Path) -> None:
    """Up, down, gone; a second agent does not share its state."""
    ours, theirs = os.openpty()

    def status() -> subprocess.CompletedProcess[str]:
        return agent("status", "--state", str(tmp_path / "state"))

    async def said(code: int, *words: str) -> str:
        async with asyncio.timeout(DEADLINE):
            while True:
                done = await asyncio.to_thread(status)
                if done.returncode == code and all(word in done.stdout for word in words):
                    return done.stdout
                await asyncio.sleep(0.1)

    async def scenario() -> None:
        async with running() as server:
            key = tmp_path / "key"
            Identity.create(key)
            environment = {"NETOPS_AGENT_PORTS_EXTRA": os.ttyname(theirs), "NETOPS_AGENT_PORTS_EXCLUDE": "*"}
            process = await start(server, key, **environment)
            text = await said(0, "up for 0 h 0 min", "1 serial port\n")
            assert text.splitlines()[-1] == f"  {os.ttyname(theirs)}"
            second = await asyncio.to_thread(
                agent, "run", "--link", "ws://127.0.0.1:1/link", "--key", str(key), "--state", str(tmp_path / "state")
            )
            assert second.stderr.splitlines()[-1].endswith(f"another agent runs with the state folder {tmp_path}/state")
            server.refuse = Error("auth", "This key is not enrolled.")
            server.behave()
            assert "last error: link to unix:" in await said(1, ": down", "This key is not enrolled.")
            process.kill()
            await process.wait()
            await said(1, "the agent does not run")

    asyncio.run(scenario())
    os.close(ours)
    os.close(theirs)


async def start(server: Server, key: Path, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pi_agent", "run", "--link", f"unix:{server.path}"),
        *("--key", str(key), "--state", str(key.parent / "state")),
        cwd=ROOT,
        env=os.environ | environment,
    )


def decided(server: Server, generation: int) -> list[int]:
    """Sequences of the nth prober, whose start is told by a first sequence of 0."""
    result: list[list[int]] = []
    for payload in server.reports:
        for record in decode(payload).records:
            if record.first == 0:
                result.append([])
            result[-1] += range(record.first, record.first + len(record.rtts))
    return result[generation]


@in_namespace
async def test_the_agent_carries_out_plans_and_comes_back() -> None:
    """A plan, a hostile one, a server that goes away, an agent that is stopped and one that is killed."""
    Router()
    plan = make_plan(1, make_walk(rate=200)).to_json()
    async with running(Server("", plans=[plan, b'{"version": 2}'])) as server:
        key = Path(server.path).with_name("key")
        public = Identity.create(key).public
        process = await start(server, key)
        await until(lambda: len(server.reports) >= 5)
        assert server.hellos[0].key == public
        assert server.hellos[0].addresses["tun0"][0] == "20.0.0.2"
        refusal = next(frame for frame in server.answers if frame.type is Type.ERROR)
        assert (refusal.stream, refusal.offset) == (PROBING, 1)
        assert Error.parse(refusal) == Error("plan", "plan: receive_port must be an integer from 1 to 65535")
        for connection in server.connections:
            connection.transport.abort()
        await until(lambda: len(server.hellos) == 2 and len(server.reports) >= 10)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        before = len(server.reports)

        process = await start(server, key)
        await until(lambda: len(server.reports) >= before + 5)
        process.kill()
        await process.wait()
        assert server.gaps == 0
        for generation in (0, 1):
            sequences = decided(server, generation)
            assert sequences == list(range(len(sequences)))
