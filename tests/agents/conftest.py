"""A real gateway process, an enrolled agent, and both kinds of peers: the agent's own link, and raw frames."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from websockets.asyncio.client import ClientConnection, unix_connect

from agents import tls
from agents.enrolment import enrolment_token_create
from agents.models import Agent
from agents.services import agent_create
from core.scope import team_scope
from netops import home
from pi_agent.enrolment import JoinToken
from pi_agent.frames import MAX_FRAME, PROBING, Challenge, Frame, Hello, TunnelTerms, Welcome, signed_message
from pi_agent.identity import Identity
from pi_agent.link import Link, boot_id
from pi_agent.outbox import Outbox
from tenancy.models import Team
from tests.agents.programs import Program
from tests.links import kept_up

HANG = 90.0
SERVER = settings.GATEWAY_URL.replace("wss:", "https:").removesuffix("/link")
BACKOFF = (0.01, 0.1)
GATEWAY = (
    "import django; django.setup(); import netops.celery; from agents.gateway import main; raise SystemExit(main())"
)
T = TypeVar("T")


def wait_for(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + HANG
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.02)
    return found


async def until(condition: Callable[[], object]) -> None:
    """As wait_for, for code with an event loop; the condition may use the database."""

    def ask() -> object:
        try:
            return condition()
        finally:
            connection.close()

    async with asyncio.timeout(HANG):
        while not await asyncio.to_thread(ask):
            await asyncio.sleep(0.02)


def socket_path() -> Path:
    return home.folder("run") / "gateway.sock"


class GatewayProcess:
    def __init__(self, **environment: str) -> None:
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings", **self.environment}
        self.process = subprocess.Popen(
            [sys.executable, "-c", GATEWAY], env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        line = self.process.stderr.readline()
        assert "the gateway listens on" in line, line
        self.lines.append(line)

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        assert self.process
        self.lines += (self.process.communicate(timeout=HANG)[1] or "").splitlines()
        return self.process.returncode


@pytest.fixture(scope="module")
def _gateway(django_db_setup: None) -> Iterator[GatewayProcess]:
    each = GatewayProcess()
    yield each
    if each.running():
        each.stop()
    assert not [line for line in each.lines if "Traceback" in line], each.lines


@pytest.fixture
def gateway(_gateway: GatewayProcess, transactional_db: None) -> GatewayProcess:
    """A gateway that must not log a traceback, whatever the tests of a module send it."""
    if not _gateway.running():
        _gateway.start()
    return _gateway


@pytest.fixture
def identity() -> Identity:
    return Identity(Ed25519PrivateKey.generate())


@pytest.fixture
def agent(team: Team, identity: Identity) -> Agent:
    with team_scope(team.pk):
        return agent_create(name="probe1", public_key=identity.public.hex(), address="20.0.0.2")


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


@asynccontextmanager
async def linked(
    identity: Identity,
    on_plan: Callable[[bytes], None] = lambda payload: None,
    on_tunnel: Callable[[TunnelTerms], None] | None = None,
) -> AsyncIterator[Link]:
    """The agent's own link, running."""
    link = Link(f"unix:{socket_path()}", identity, on_plan, Outbox(4 << 20), BACKOFF, on_tunnel=on_tunnel)
    async with kept_up(link):
        yield link


@asynccontextmanager
async def raw() -> AsyncIterator[ClientConnection]:
    async with unix_connect(str(socket_path()), "ws://localhost/link", compression=None, max_size=MAX_FRAME) as socket:
        yield socket


async def answer(socket: ClientConnection, identity: Identity, signer: Identity | None = None) -> None:
    """Take the CHALLENGE and say HELLO."""
    challenge = Challenge.parse(Frame.decode(await socket.recv()))
    hello = Hello(
        key=identity.public,
        signature=(signer or identity).sign(signed_message(challenge.nonce, identity.public)),
        boot=boot_id(),
        hostname="pi",
        software="0.1.0",
        addresses={"eth0": ["20.0.0.2"]},
        streams={PROBING: 0},
    )
    await socket.send(hello.frame().encode())


async def welcomed(socket: ClientConnection, identity: Identity) -> Welcome:
    await answer(socket, identity)
    return Welcome.parse(Frame.decode(await socket.recv()))
