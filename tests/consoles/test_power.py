"""The power outlet of a console: set up by admins, switched by who may type, called only where the operator allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from agents.models import Agent
from consoles.models import ConsoleOutlet, ConsolePort
from consoles.power import power_do
from core.scope import team_scope
from tenancy.models import Team
from tests.agents.conftest import agent, identity  # noqa: F401  (fixtures)

SECRET = "Bearer hunter2-correct"


class Pdu(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Pdu

    def do_POST(self) -> None:
        self.server.heard.append((self.command, self.path, self.headers.get("Authorization", "")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pdu() -> Iterator[Pdu]:
    with Pdu() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def port(team: Team, agent: Agent) -> ConsolePort:  # noqa: F811
    with team_scope(team.pk):
        made: ConsolePort = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0", title="fw-1")
        return made


def page(client: Client, port: ConsolePort, what: str, **values: str) -> tuple[int, str]:
    url = f"/t/red/consoles/{port.pk}/{what}"
    answer = client.post(url, values, follow=True) if values else client.get(url)
    return answer.status_code, answer.content.decode()


def test_an_outlet_is_set_up_and_switched(
    pdu: Pdu, port: ConsolePort, team: Team, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    assert f"consoles/{port.pk}/power/" not in page(alice_client, port, "")[1], "nothing to switch yet"
    status, html = page(
        alice_client, port, "outlet/", method="POST", off=f"{pdu.url}/off", cycle=f"{pdu.url}/cycle?outlet=3",
        headers=f"Authorization: {SECRET}",
    )  # fmt: skip
    assert status == 200
    assert "The power outlet of fw-1 is set up." in html
    assert f"consoles/{port.pk}/power/" in html
    html = page(alice_client, port, "power/")[1]
    assert "Switch it off" in html
    assert "Off and on again" in html
    assert "Switch it on" not in html
    html = page(alice_client, port, "power/", action="cycle")[1]
    assert "Power cycle: its outlet answered 200" in html
    assert pdu.heard == [("POST", "/cycle?outlet=3", SECRET)]
    pdu.status = 503
    assert "Power off was not done: its outlet answered 503" in page(alice_client, port, "power/", action="off")[1]
    for action in ("on", "delete", "headers"):
        assert "has no address for power" in page(alice_client, port, "power/", action=action)[1]
    assert len(pdu.heard) == 2
    for client, status in ((bob_client, 403), (charlie_client, 404)):
        for what in ("power/", "outlet/"):
            assert page(client, port, what)[0] == status
            assert page(client, port, what, action="off", off=f"{pdu.url}/off", method="GET")[0] == status
    assert len(pdu.heard) == 2
    trail: Any = alice_client.get("/t/red/audit/export.jsonl")
    told = b"".join(trail.streaming_content).decode()
    assert "its outlet answered 503" in told
    with team_scope(team.pk), connection.cursor() as cursor:
        cursor.execute("SELECT headers FROM consoles_consoleoutlet")
        stored = cursor.fetchone()[0]
    assert stored
    assert "hunter2" not in stored
    for shown in (told, *(page(alice_client, port, what)[1] for what in ("", "outlet/", "power/"))):
        assert SECRET not in shown


def test_what_cannot_be_called_is_told(
    pdu: Pdu, port: ConsolePort, team: Team, alice_client: Client, settings: Any
) -> None:
    for wrong in ("ftp://10.0.0.1/", "http://", "http://u:p@pdu/", "x"):
        assert "Enter an address that starts with" in page(alice_client, port, "outlet/", method="POST", on=wrong)[1]
    for wrong in ("no colon", "Na me: x", "X: \u20ac"):
        html = page(alice_client, port, "outlet/", method="POST", on=pdu.url, headers=wrong)[1]
        assert "`Name: value`" in html
    page(alice_client, port, "outlet/", method="GET", on=f"{pdu.url}/on", headers=f"Authorization: {SECRET}")
    page(alice_client, port, "outlet/", method="GET", on=f"{pdu.url}/on", headers="")
    with team_scope(team.pk):
        assert power_do(port_id=port.pk, action="on").done
        assert pdu.heard == [("GET", "/on", SECRET)], "kept where none are given"
        settings.OUTBOUND_ALLOW = []
        refused = power_do(port_id=port.pk, action="on")
        assert not refused.done
        assert "NETOPS_OUTBOUND_ALLOW" in refused.sentence
        assert ConsoleOutlet.objects.get().answer in refused.sentence
    page(alice_client, port, "outlet/", method="GET", on=f"{pdu.url}/on", headers="-")
    with team_scope(team.pk):
        assert not ConsoleOutlet.objects.get().headers
