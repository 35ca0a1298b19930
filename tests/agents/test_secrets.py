"""Neither the join token nor a key nor a signature is in a log, an answer, an error's report or the audit trail,
whichever door it went through and however that ended: everything is driven at DEBUG, and what was said is searched."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.test import Client, override_settings
from django.utils.module_loading import import_string

from agents import tls
from agents.enrolment import agent_revoke, enrolment_token_create
from agents.legacy import legacy_token_create
from agents.models import Agent
from core.redaction import Redacting
from core.scope import team_scope
from pi_agent.enrolment import ENROL_PATH, HEARTBEAT_PATH, REGISTER_PATH, ROTATE_PATH, JoinToken, rotate_message
from pi_agent.frames import Challenge, Frame, Hello, signed_message
from pi_agent.identity import Identity
from pi_agent.link import boot_id
from tenancy.models import Team
from tenancy.trail import Wanted, entries
from tests.agents.conftest import GATEWAY, HANG, SERVER, raw, wait_for
from tests.agents.machines import Machine, post, registration
from tests.agents.programs import Program
from tests.agents.test_legacy import REQUEST

BODY = registration().to_json()


class Secrets:
    """What was made up to be kept, in each form in which it could be told."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    def add(self, *values: str | bytes) -> None:
        for value in values:
            raw_bytes = bytes.fromhex(value) if isinstance(value, str) and len(value) in (64, 128) else value
            self.kept |= {value} if isinstance(value, str) else set()
            if isinstance(raw_bytes, bytes):
                self.kept |= {raw_bytes.hex(), raw_bytes.hex(" "), repr(raw_bytes)[2:-1]}

    def machine(self) -> Machine:
        machine = Machine()
        self.add(machine.identity.private.private_bytes_raw())
        return machine

    def told_in(self, text: str) -> set[str]:
        return {each for each in self.kept if each in text}


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def join(team: Team, valkey: None, secrets: Secrets) -> str:
    cache.clear()
    with team_scope(team.pk):
        secret = enrolment_token_create(name="Sites", uses_left=20)[1]
    secrets.add(secret)
    return secret


@contextmanager
def logged() -> Iterator[list[str]]:
    """Every line of every logger, as our handler writes it; queries too."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(Redacting())
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("", "django", "django.request", "netops")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    connection.force_debug_cursor = True
    try:
        yield lines
    finally:
        connection.force_debug_cursor = False
        loggers[0].removeHandler(handler)
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def drive(join: str, picon: str, secrets: Secrets, team: Team) -> list[HttpResponse]:
    """Every door, well and in each way badly."""
    machine, other, new = secrets.machine(), secrets.machine(), secrets.machine()

    def signed(who: Machine, path: str, body: bytes) -> dict[str, str]:
        headers = who.headers(path, body)
        secrets.add(headers["Netops-Signature"])
        return headers

    for each in (machine, other):
        secrets.add(each.proof(join)["signature"])
    answers = [
        machine.enrol(join), machine.enrol(join), other.enrol(join, signature="ab" * 64), other.enrol(join, key="zz"),
        other.enrol(join, registration={}), other.enrol("0" * 32), post(ENROL_PATH, json.dumps(join).encode()),
        post(ENROL_PATH, b"{" + join.encode()), post(f"{ENROL_PATH}?token={'x' * 9}", b""),
    ]  # fmt: skip
    for path in (REGISTER_PATH, HEARTBEAT_PATH, ROTATE_PATH):
        good = signed(machine, path, BODY)
        answers += [post(path, BODY, good), post(path, BODY, good), post(path, b"{", signed(machine, path, b"{"))]
        answers += [post(path, BODY, signed(other, path, BODY)), post(path, BODY + b" ", signed(machine, path, BODY))]
        answers += [post(path, b"x" * 600_000, signed(machine, path, b"x" * 600_000)), Client().get(path)]  # type: ignore[list-item]
    proof = new.identity.sign(rotate_message(machine.identity.public, new.identity.public)).hex()
    secrets.add(proof)
    rotation = json.dumps({"key": new.key, "signature": proof}).encode()
    answers.append(post(ROTATE_PATH, rotation, signed(machine, ROTATE_PATH, rotation)))
    told = json.dumps(REQUEST).encode()
    for body in (told, b"{", json.dumps({**REQUEST, "holdtime": 0}).encode()):
        answers.append(post(f"/picon/{picon}/api/register", body))
    answers.append(post(f"/picon/{picon}x/api/register", told))
    with team_scope(team.pk):
        for agent in Agent.objects.all():
            agent_revoke(agent=agent)
    answers += [new.report(), machine.enrol(join), post(f"/picon/{picon}/api/register", told)]
    return answers


def test_by_http(join: str, secrets: Secrets, team: Team) -> None:
    with team_scope(team.pk):
        picon = legacy_token_create(name="PiCon")[1]
    secrets.add(picon)
    with logged() as lines:
        answers = drive(join, picon, secrets, team)
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 201, 400, 401, 404, 405, 409, 413}, statuses
    assert len(lines) > 100, "DEBUG says much"
    assert not secrets.told_in("\n".join(lines))
    assert not secrets.told_in("\n".join(answer.content.decode() for answer in answers))
    with team_scope(team.pk):
        trail = [str((entry.changes, entry.context, entry.title)) for entry in entries(Wanted(), limit=200)]
    assert len(trail) > 4
    assert not secrets.told_in("\n".join(trail))


@pytest.mark.parametrize("debug", [False, True])
def test_when_a_door_breaks(debug: bool, join: str, secrets: Secrets, team: Team, monkeypatch: Any) -> None:
    """Django's reports, as page and as text, have neither variables nor the addresses of PiCon agents."""
    with team_scope(team.pk):
        picon = legacy_token_create(name="PiCon")[1]
    secrets.add(picon)
    machine = secrets.machine()
    machine.enrol(join)
    secrets.add(machine.proof(join)["signature"])
    reports: list[str] = []

    def report(record: logging.LogRecord) -> None:
        reporter: Any = import_string(settings.DEFAULT_EXCEPTION_REPORTER)(
            getattr(record, "request", None), *(record.exc_info or ()), is_email=True
        )
        reports.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])

    handler = logging.Handler()
    handler.emit = report  # type: ignore[method-assign]
    for name in ("agent_enrol", "agent_register", "agent_key_rotate", "legacy_register"):
        monkeypatch.setattr(f"agents.doors.{name}", lambda **_: 1 / 0)
    monkeypatch.setattr(Client, "__init__", _quiet(Client.__init__))
    logging.getLogger("django.request").addHandler(handler)
    rotation = json.dumps({"key": machine.key, "signature": "cd" * 64}).encode()
    secrets.add("cd" * 64)
    try:
        with override_settings(DEBUG=debug), logged() as lines:
            headers = machine.headers(REGISTER_PATH, BODY)
            secrets.add(headers["Netops-Signature"])
            answers = [
                machine.enrol(join), post(REGISTER_PATH, BODY, headers), machine.report(ROTATE_PATH, rotation),
                post(f"/picon/{picon}/api/register", json.dumps(REQUEST).encode()),
            ]  # fmt: skip
    finally:
        logging.getLogger("django.request").removeHandler(handler)
    assert [answer.status_code for answer in answers] == [500] * 4
    assert len(reports) == 8
    assert "ZeroDivisionError" in reports[0]
    for text in (*reports, *lines, *(answer.content.decode() for answer in answers)):
        assert not secrets.told_in(text)


def _quiet(init: Any) -> Any:
    def made(self: Client, **values: Any) -> None:
        init(self, raise_request_exception=False, **values)

    return made


def test_over_the_link_and_by_the_program(
    transactional_db: None, team: Team, join: str, secrets: Secrets, tmp_path: Path
) -> None:
    """A gateway and an agent of their own, both at DEBUG, with what they print kept."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings", "NETOPS_LOG_LEVEL": "DEBUG"}
    said, token = tmp_path / "gateway", str(JoinToken(join, tls.pin()))
    identity = Identity(Ed25519PrivateKey.generate())
    secrets.add(token, identity.private.private_bytes_raw())

    async def hello(signer: Identity, then: bytes) -> None:
        async with raw() as link:
            nonce = Challenge.parse(Frame.decode(await link.recv())).nonce
            signature = signer.sign(signed_message(nonce, identity.public))
            secrets.add(signature)
            await link.send(Hello(identity.public, signature, boot_id(), "pi", "0.1.0", {}, {}).frame().encode() + then)
            await link.recv()

    with (
        open(said, "wb") as file,
        subprocess.Popen([sys.executable, "-c", GATEWAY], env=environment, stderr=file) as gate,
    ):
        try:
            wait_for(lambda: b"the gateway listens on" in said.read_bytes())
            program, printed = Program(tmp_path), tmp_path / "agent"
            outputs = [program.call("enrol", SERVER, token)]
            assert outputs[0].returncode == 0, outputs[0].stderr
            key = (program.state / "agent.key").read_text().strip()
            secrets.add(key)
            outputs += [
                program.call("enrol", SERVER, token), program.call("enrol", token, SERVER),
                program.call("enrol", SERVER, token[:-1]), program.call("enrol", SERVER, f"{'0' * 32}{token[32:]}"),
                program.call("enrol", SERVER, str(JoinToken(join, bytes(32)))),
                program.call("enrol", "https://127.0.0.1:9", token), program.call("status"), program.call("doctor"),
            ]  # fmt: skip
            for signer, then in ((identity, b""), (Identity(Ed25519PrivateKey.generate()), b""), (identity, b"}")):
                asyncio.run(hello(signer, then))
            command = [sys.executable, "-m", "pi_agent", "run"]
            with (
                open(printed, "wb") as out,
                subprocess.Popen(command, env=program.environment, stdout=out, stderr=out) as agent,
            ):
                wait_for(lambda: _online(team))
                agent.terminate()
                agent.wait(HANG)
        finally:
            gate.terminate()
            gate.wait(HANG)
    assert [each.returncode for each in outputs[:7]] == [0, 0, 1, 1, 1, 1, 1]
    for output in outputs:
        assert not secrets.told_in(output.stdout + output.stderr), output.args[-3]
    for text in (said.read_text(errors="replace"), printed.read_text(errors="replace")):
        assert not secrets.told_in(text)


def _online(team: Team) -> bool:
    with team_scope(team.pk):
        return Agent.objects.filter(online=True).exists()
