"""REST of console ports, and its walls."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from agents.models import Agent
from consoles.models import ConsolePort
from core.scope import team_scope
from inventory.written import device_create
from tenancy.models import Team
from tests.agents.conftest import agent, identity  # noqa: F401  (fixtures)

URL = "/api/consoles/ports/"


@pytest.fixture
def port(team: Team, agent: Agent) -> ConsolePort:  # noqa: F811
    with team_scope(team.pk):
        device = device_create(name="fw-1")
        ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB1")
        made: ConsolePort = ConsolePort.objects.create(
            agent=agent, name="/dev/ttyUSB0", title="Firewall", device=device
        )
        return made


def patch(client: Client, url: str, body: Any, **headers: str) -> Any:
    return client.patch(url, body, content_type="application/json", headers=headers)


def test_ports_are_listed_and_narrowed(port: ConsolePort, bob_client: Client, charlie_client: Client) -> None:
    answer = bob_client.get(URL).json()
    assert (answer["count"], [row["name"] for row in answer["results"]]) == (2, ["/dev/ttyUSB0", "/dev/ttyUSB1"])
    first = answer["results"][0]
    shown = (first["display"], first["agent"]["name"], first["device"]["name"])
    assert shown == (
        "Firewall /dev/ttyUSB0",
        "probe1",
        "fw-1",
    )
    assert first["parity"] == {"value": "none", "label": "none"}
    for query, count in [
        ("device=fw-1", 1), (f"device_id={port.device_id}", 1), ("device_id__empty=true", 1), ("agent=probe1", 2),
        ("agent=other", 0), ("q=wall", 1), ("title__ic=fire", 1), ("tried=true", 0),
    ]:  # fmt: skip
        assert bob_client.get(f"{URL}?{query}").json()["count"] == count, query
    assert bob_client.get(f"{URL}?colour=red").status_code == 400
    assert charlie_client.get(URL).json()["count"] == 0


def test_who_may_change_sets_a_port_up(
    port: ConsolePort, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    url = f"{URL}{port.pk}/"
    assert patch(bob_client, url, {"baud": 115200}).status_code == 403
    assert patch(charlie_client, url, {"baud": 115200}).status_code == charlie_client.get(url).status_code == 404
    tag = alice_client.get(url)["ETag"]
    answer = patch(alice_client, url, {"baud": 115200, "flow": "rtscts", "device": None}, **{"If-Match": tag})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["baud"]["value"], told["flow"]["value"], told["device"]) == (115200, "rtscts", None)
    assert patch(alice_client, url, {"title": "x"}, **{"If-Match": tag}).status_code == 412
    for wrong in ({"baud": 1234}, {"parity": "mark"}, {"device": 987654321}, {"title": "x" * 61}, {"colour": 1}):
        answer = patch(alice_client, url, wrong)
        assert (answer.status_code, list(answer.json())) == (400, list(wrong)), answer.content
    kept = patch(alice_client, url, {"name": "/dev/other", "agent": 1}).json()
    assert (kept["name"], kept["agent"]["name"]) == ("/dev/ttyUSB0", "probe1")
