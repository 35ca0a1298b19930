from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pi_agent.enrolment import HEARTBEAT_PATH, REGISTER_PATH, report_message
from pi_agent.identity import Identity, verify
from pi_agent.link import boot_id
from pi_agent.machine import Machine
from pi_agent.post import PostError
from pi_agent.registration import Registration
from pi_agent.reports import Reporter
from pi_agent.state import Status
from tests.pi_agent.machines import pi4
from tests.pi_agent.server import until
from tests.pi_agent.web import serving

IDENTITY = Identity(Ed25519PrivateKey.generate())


class Sink:
    """Takes reports in the place of `post`; `answers` are given first, then the last one for ever."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, bytes]] = []

    def __call__(self, url: str, path: str, body: bytes, pin: bytes | None, headers: dict[str, str]) -> object:
        self.seen.append((path, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def reporting(reporter: Reporter) -> AsyncIterator[None]:
    task = asyncio.create_task(reporter.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    return Machine(roots=pi4(tmp_path / "pi").roots).registration()


def test_reports_are_signed_and_counted_over_https(tmp_path: Path, registration: Registration) -> None:
    async def scenario() -> None:
        with serving(tmp_path) as web:
            web.answer = b'{"status": "ok", "holdtime": 300, "interval": 1}'
            async with reporting(reporter := Reporter(web.url, web.pin, IDENTITY)):
                reporter.register(registration)
                await until(lambda: len(web.bodies) == 2)
        assert web.paths == [REGISTER_PATH, HEARTBEAT_PATH]
        assert Registration.parse(web.bodies[0]) == registration
        counters = []
        for path, body, headers in zip(web.paths, web.bodies, web.headers, strict=True):
            counters.append(int(headers["Netops-Counter"]))
            assert (headers["Netops-Key"], headers["Netops-Boot"]) == (IDENTITY.public.hex(), str(boot_id()))
            message = report_message(path, uuid.UUID(headers["Netops-Boot"]), counters[-1], body)
            assert verify(IDENTITY.public, bytes.fromhex(headers["Netops-Signature"]), message)
        assert counters[0] < counters[1]

    asyncio.run(scenario())


def test_the_counter_grows_over_restarts() -> None:
    counters = []
    for _ in range(3):
        reporter = Reporter("https://x", None, IDENTITY)
        counters += [int(reporter.headers(HEARTBEAT_PATH, b"{}")["Netops-Counter"]) for _ in range(50)]
    assert counters == sorted(set(counters))
    assert counters[-1] < 2**63


def test_what_failed_is_sent_again(registration: Registration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.01)
    status = Status()

    async def scenario() -> None:
        sink = Sink(PostError("no way"), {"status": "ok"}, {"interval": 60})
        async with reporting(reporter := Reporter("https://x", None, IDENTITY, status, sink)):
            await asyncio.sleep(0.05)
            assert sink.seen == []
            reporter.register(registration)
            await until(lambda: status.since is not None)
            assert [path for path, _ in sink.seen] == [REGISTER_PATH] * 3
            assert status.error.startswith("the server's answer: interval must be an integer")
            reporter.register(registration)
            await until(lambda: len(sink.seen) == 4)
            assert json.loads(sink.seen[3][1])["hostname"] == "pi-rack4"

    asyncio.run(scenario())


def test_the_server_names_the_interval(registration: Registration) -> None:
    async def scenario() -> None:
        sink = Sink({"interval": 1})
        async with reporting(reporter := Reporter("https://x", None, IDENTITY, send=sink)):
            reporter.register(registration)
            await until(lambda: [path for path, _ in sink.seen] == [REGISTER_PATH, HEARTBEAT_PATH])
            assert reporter.interval_s == 1

    asyncio.run(scenario())
