"""A console is one click away from its device, a link, its port at the agent, and an incident."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from django.test import Client

from agents.models import Agent
from consoles.models import ConsolePort
from core.scope import team_scope
from pi_agent.registration import Port
from tenancy.models import Team
from tests.agents.conftest import agent, identity  # noqa: F401  (fixtures)
from tests.rows import Lab, lab_rows
from ticketing.services import incident_report


@pytest.fixture
def lab(team: Team) -> Lab:
    with team_scope(team.pk):
        return lab_rows()


@pytest.fixture
def ports(team: Team, agent: Agent, lab: Lab) -> dict[str, int]:  # noqa: F811
    """{name of the device: its console}, of R1, R2, R4 and one that is nobody's."""
    with team_scope(team.pk):
        made = {
            name: ConsolePort.objects.create(agent=agent, name=f"/dev/{name}", device=lab.devices.get(name))
            for name in ("R1", "R2", "R4", "spare")
        }
        return {name: port.pk for name, port in made.items()}


def buttons(client: Client, path: str) -> list[int]:
    """The consoles to which a page has a button."""
    page = client.get(path)
    assert page.status_code == 200
    links = page.content.decode().split('<a class="btn btn-sm" href="/t/red/consoles/')[1:]
    return sorted(int(each.partition("/")[0]) for each in links)


def report(kind: str, element: str) -> str:
    made = incident_report(kind=kind, element=element, source="test", title="Trouble", evidence={}, reason="told")
    return f"/t/red/incidents/{made.pk}/"


def test_from_a_device_and_a_link(ports: dict[str, int], lab: Lab, bob_client: Client, charlie_client: Client) -> None:
    device, link = f"/t/red/devices/{lab.devices['R1'].pk}/", f"/t/red/links/{lab.links['R1–R2'].pk}/"
    assert buttons(bob_client, device) == [ports["R1"]]
    assert buttons(bob_client, link) == [ports["R1"], ports["R2"]]
    assert buttons(bob_client, f"/t/red/devices/{lab.devices['R3'].pk}/") == []
    assert {charlie_client.get(each).status_code for each in (device, link)} == {404}


def test_from_an_incident(
    ports: dict[str, int], lab: Lab, team: Team, bob_client: Client, charlie_client: Client
) -> None:
    one, other = (lab.links[name].pk for name in ("R1–R2", "R2–R4"))
    expected = {
        ("link", f"link:{one}"): ["R1", "R2"],
        ("link", f"link:{one},link:{other}"): ["R1", "R2", "R4"],
        ("link", f"agent:1,link:{other}"): ["R2", "R4"],
        ("console", f"console:{ports['spare']}:test"): ["spare"],
        ("console-rule", f"console-rule:{ports['R1']}:{ports['spare']}"): ["spare"],
        ("link", "link:99999"): [],
        ("access", "agent:1"): [],
        ("agent", "agent:1"): [],
    }
    for (kind, element), names in expected.items():
        with team_scope(team.pk):
            path = report(kind, element)
        assert buttons(bob_client, path) == sorted(ports[name] for name in names), element
        assert charlie_client.get(path).status_code == 404


def test_from_its_port(ports: dict[str, int], team: Team, agent: Agent, bob_client: Client) -> None:  # noqa: F811
    with team_scope(team.pk):
        agent.ports = [asdict(Port(name="/dev/R1", device="/dev/ttyUSB0"))]
        agent.save(update_fields=["ports"])
    assert buttons(bob_client, f"/t/red/agents/{agent.pk}/") == [ports["R1"]]
