"""The whole program: its command line, its distribution, and a run against a server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pi_agent.frames import PROBING, Error, Type
from pi_agent.identity import Identity
from pi_agent.prober.report import decode
from tests.pi_agent.namespace import ROOT, Router, in_namespace, make_plan, make_walk
from tests.pi_agent.server import Server, running, until


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
        (["--link", "ws://x/link"], {}, "run needs --link and --key"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = agent("run", *arguments, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_distribution_holds_every_module_and_the_command(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "pi_agent", tmp_path / "source", ignore=ignore)
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "build", "-b", "out", "egg_info"]
    subprocess.run(command, cwd=tmp_path / "source", check=True, capture_output=True, timeout=120)
    built = {path.relative_to(tmp_path / "source/out/lib") for path in (tmp_path / "source/out/lib").rglob("*.py")}
    wanted = {path.relative_to(ROOT) for path in (ROOT / "pi_agent").rglob("*.py") if "build" not in path.parts}
    assert built == wanted
    entries = tmp_path / "source/netops_agent.egg-info/entry_points.txt"
    assert "netops-agent = pi_agent.__main__:main" in entries.read_text()


async def start(server: Server, key: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pi_agent", "run", "--link", f"unix:{server.path}"),
        *("--key", str(key), "--state", str(key.parent / "state")),
        cwd=ROOT,
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
