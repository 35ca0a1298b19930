"""Every door by which a registration comes, times everything that may be wrong with it: refused with a 4xx (on the
link: an ERROR) that names the field, or stored as harmless text. One table of it is printed (`pytest -s`)."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from agents.enrolment import enrolment_token_create
from agents.legacy import legacy_token_create
from agents.models import Agent
from core.scope import team_scope
from netops import home
from pi_agent.enrolment import ENROL_PATH, HEARTBEAT_PATH, REGISTER_PATH, ROTATE_PATH
from pi_agent.frames import Error, Frame, Type
from pi_agent.identity import Identity
from pi_agent.pinning import pinned_context
from pi_agent.registration import MAX_BODY
from tenancy.models import Team
from tests.agents.conftest import HANG, GatewayProcess, raw, welcomed
from tests.agents.machines import Machine, post, registration
from tests.agents.test_legacy import REQUEST

ESCAPES = ["\x1b]0;owned\x07", "\x1b[2J", "nul\0", "two\nlines", "\ud800", "\u202egnp.exe"]
NO_TEXT: list[Any] = [None, 5, 1.5, True, [], {}, ["x"], "x" * 256, *ESCAPES]
NO_LIST: list[Any] = [None, 5, "x", {"a": 1}, [5], [None], [["x"]], ["nowhere"]]
NO_WHOLE: list[Any] = [None, "5", 1.5, True, [], -1, 2**70, "x"]
WRONG: dict[str, list[Any]] = {
    "hostname": [*NO_TEXT, ""], "serial": NO_TEXT, "model": NO_TEXT, "os": NO_TEXT, "software": [*NO_TEXT, ""],
    "boot": [*NO_TEXT, "", "no-uuid"], "uptime_s": NO_WHOLE,
    "interfaces": [*NO_LIST, "many"], "interfaces.0.name": [*NO_TEXT, "", "lo"],
    "interfaces.0.up": [None, 1, "true", []], "interfaces.0.mac": NO_TEXT, "interfaces.0.addresses": [*NO_LIST, "many"],
    "ports": [*NO_LIST, "many"], "ports.0.name": [*NO_TEXT, ""], "ports.0.device": [*NO_TEXT, ""],
    **{f"ports.0.{name}": NO_TEXT for name in ("vendor", "product", "serial", "description")},
}  # fmt: skip
PICON: dict[str, list[Any]] = {
    "hostname": [*NO_TEXT, ""], "sn": NO_TEXT, "holdtime": [*NO_WHOLE, 0, 10**9],
    "ports": [None, 5, "x", {}, [5], [""], ["x" * 256], *([each] for each in ESCAPES), "many"],
    "interfaces": [None, 5, "x", [], {"": {"addrs": [], "state": True}}, {"\x1b[2J": {"addrs": [], "state": True}}],
    "interfaces.eth0.addrs": [*NO_LIST, "many"], "interfaces.eth0.state": [None, "up", 1],
}  # fmt: skip
Sent = Callable[[bytes], tuple[int, str]]


def cases(good: dict[str, Any], wrong: dict[str, list[Any]]) -> Iterator[tuple[str, bytes]]:
    """(the field that must be named, the body)."""
    for place, values in wrong.items():
        *way, leaf = (int(step) if step.isdigit() else step for step in place.split("."))
        for value in values:
            body = copy.deepcopy(good)
            inner: Any = body
            for step in way:
                inner = inner[step]
            inner[leaf] = ["192.0.2.1"] * 10_000 if value == "many" else value
            # A list of what is no object is refused as "ports[0]"; two interfaces of one name as "interfaces".
            yield ("interfaces" if value == "lo" else str(leaf)), json.dumps(body).encode()


def longer(good: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Not an object, not JSON, cut short, too deep, too long."""
    for body in (
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":NaN}',
        json.dumps(good).encode()[:-9],
    ):
        yield "JSON", body
    for size in (MAX_BODY + 1, 10_000_000):
        yield "bytes", json.dumps({**good, "more": "x" * size}).encode()


def refused(sent: Sent, wanted: Iterator[tuple[str, bytes]], door: str) -> int:
    """How many were; none may pass."""
    count = 0
    for field, body in wanted:
        status, text = sent(body)
        assert 400 <= status < 500, (door, field, body[:300], status, text[:300])
        assert field in text, (door, field, body[:300], status, text[:300])
        count += 1
    print(f"{door:20} {count:4} bad bodies, each refused by name")
    return count


@pytest.fixture(autouse=True)
def _no_limit() -> Iterator[None]:
    with override_settings(AGENT_RATE=10**9):
        yield


@pytest.fixture
def secret(team: Team, valkey: None) -> str:
    cache.clear()
    with team_scope(team.pk):
        return enrolment_token_create(name="Sites", uses_left=9)[1]


def told() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(registration().to_json())
    return body


def rows(team: Team) -> list[dict[str, Any]]:
    with team_scope(team.pk):
        return list(
            Agent.objects.order_by("pk").values("name", "hostname", "serial", "ports", "interfaces", "public_key")
        )


def test_enrol(secret: str, team: Team) -> None:
    proof = Machine().proof(secret)
    good = {
        "token": secret, "key": proof["key"].hex(), "signature": proof["signature"].hex(), "registration": told(),
    }  # fmt: skip
    no_octets: list[Any] = [None, 5, [], {}, "", "zz", "ab", "ab" * 99]
    own: dict[str, list[Any]] = {
        "token": [*NO_TEXT, "", "x" * 65], "key": no_octets, "signature": no_octets,
        "registration": [None, 5, "x", []],
    }  # fmt: skip
    nested = {f"registration.{place}": values for place, values in WRONG.items()}

    def sent(body: bytes) -> tuple[int, str]:
        answer = post(ENROL_PATH, body)
        return answer.status_code, answer.content.decode()

    assert refused(sent, cases(good, own | nested), "enrol") > 150
    refused(sent, longer(good), "enrol")
    assert rows(team) == []
    assert sent(json.dumps(good).encode())[0] == 201, "nothing of it spent the token"


@pytest.mark.parametrize("path", [REGISTER_PATH, HEARTBEAT_PATH, ROTATE_PATH])
def test_signed_reports(path: str, secret: str, team: Team) -> None:
    machine = Machine()
    machine.enrol(secret)
    before = rows(team)

    def sent(body: bytes) -> tuple[int, str]:
        answer = machine.report(path, body)
        return answer.status_code, answer.content.decode()

    if path == REGISTER_PATH:
        assert refused(sent, cases(told(), WRONG), "register") > 150
        refused(sent, longer(told()), "register")
    elif path == ROTATE_PATH:
        no_octets: list[Any] = [None, 5, [], {}, "", "zz", "ab", "ab" * 99]
        good = {"key": Machine().key, "signature": "ab" * 64}
        refused(sent, cases(good, {"key": no_octets, "signature": [*no_octets, "ab" * 64]}), "rotate")
        refused(sent, longer(good), "rotate")
    else:  # alive is alive, whatever the body says
        for _, body in longer(told()):
            assert sent(body)[0] == (413 if len(body) > MAX_BODY else 200)
    assert rows(team) == before
    assert machine.report().status_code == 200


def test_headers_of_a_report(secret: str, team: Team) -> None:
    """Whatever they say, nothing tells what was wrong: who is not enrolled learns nothing."""
    machine = Machine()
    machine.enrol(secret)
    body = registration().to_json()
    for name in machine.headers(REGISTER_PATH, body):
        for value in ("", "zz", "-1", "9" * 30, "\u0665", "x" * 5000, "<script>"):
            headers = machine.headers(REGISTER_PATH, body) | {name: value}
            assert post(REGISTER_PATH, body, headers).status_code == 401, (name, value)


def test_picon(team: Team, valkey: None) -> None:
    cache.clear()
    with team_scope(team.pk):
        secret = legacy_token_create(name="PiCon")[1]

    def sent(body: bytes) -> tuple[int, str]:
        answer = post(f"/picon/{secret}/api/register", body)
        return answer.status_code, answer.content.decode()

    assert refused(sent, cases(REQUEST, PICON), "PiCon") > 60
    refused(sent, longer(REQUEST), "PiCon")
    assert rows(team) == []
    assert sent(json.dumps(REQUEST).encode())[0] == 200


def test_the_link(gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity) -> None:
    """It ends with an ERROR that names the field; the next one is welcome."""
    before = rows(team)
    few = {place: [values[0], *(["many"] if "many" in values else []), *values[-1:]] for place, values in WRONG.items()}

    async def said(payload: bytes) -> tuple[int, str]:
        async with raw() as link:
            await welcomed(link, identity)
            try:
                await link.send(bytes([Type.REGISTER]) + bytes(12) + payload)
                error = Error.parse(Frame.decode(await link.recv()))
            except ConnectionClosed as closed:  # too long for a frame: it was not read
                return 400, f"bytes ({closed})"
            return 400 if error.code == "frame" else 500, error.message

    assert refused(lambda body: asyncio.run(said(body)), cases(told(), few), "link") > 30
    refused(lambda body: asyncio.run(said(body)), longer(told()), "link")
    after = [{**row, "hostname": ""} for row in rows(team)]
    assert after == before, "HELLO alone was taken in"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "'; DROP TABLE agents_agent; --", "%s{{ 7*7 }}", "ðŸ\u00a1é"]
)
def test_what_is_only_odd_is_stored_as_it_is(name: str, secret: str, team: Team) -> None:
    """Pages escape it: tests/agents/test_pages.py."""
    odd = {"hostname": name, "serial": name, "model": name, "os": name}
    machine = Machine()
    assert machine.enrol(secret, registration={**told(), **odd}).status_code == 201
    assert machine.report(body=json.dumps({**told(), **odd}).encode()).status_code == 200
    (row,) = rows(team)
    assert (row["hostname"], row["serial"]) == (name, name)


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2026-01-01T01:00:00+02:00", "9999-12-31T23:59:59Z"])
def test_the_machines_clock_changes_nothing(clock: str, secret: str, team: Team) -> None:
    machine = Machine()
    body = json.dumps({**told(), "time": clock, "last_seen": clock, "first_seen": clock}).encode()
    assert machine.enrol(secret).status_code == 201
    headers = machine.headers(REGISTER_PATH, body) | {"Date": clock}
    assert post(REGISTER_PATH, body, headers).status_code == 200
    with team_scope(team.pk):
        assert Agent.objects.with_status().get().status == "online"


def test_the_gateway_reads_no_more_than_it_wants(gateway: GatewayProcess) -> None:
    """The answer comes though the body never does; what is sent in pieces is cut off as well."""
    announced = b"Content-Length: 10000000\r\n\r\n"
    pieces = b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % (MAX_BODY + 1) + b"x" * (MAX_BODY + 1) + b"\r\n"
    for path in (ENROL_PATH, REGISTER_PATH, HEARTBEAT_PATH, ROTATE_PATH):
        for rest in (announced, pieces):
            with (
                socket.create_connection(("127.0.0.1", home.port("gateway")), HANG) as plain,
                pinned_context().wrap_socket(plain, server_hostname=settings.SSH_HOST) as secure,
            ):
                secure.sendall(f"POST {path} HTTP/1.1\r\nHost: {settings.SSH_HOST}\r\n".encode() + rest)
                answer = b""
                with suppress(ssl.SSLError, ConnectionResetError):
                    while piece := secure.recv(65536):
                        answer += piece
            assert answer.startswith(b"HTTP/1.1 413"), (path, answer)
            assert f"Send at most {MAX_BODY} bytes.".encode() in answer
