"""The list of incidents and the page of one."""

import re

import pytest
from django.test import Client

from core.scope import team_scope
from tenancy.models import Team
from tests.core.test_pages import DESK
from ticketing.models import Incident, TicketOperation
from ticketing.services import desk_create, incident_clear, incident_report


@pytest.fixture
def incidents(team: Team) -> list[Incident]:
    """Three incidents, the middle one resolved."""
    with team_scope(team.pk):
        desk_create(name="Night shift", driver="email", settings=DESK)
        made = [
            incident_report(
                kind="link", element=f"link:{number}", source="probing:7", title=f"Link {number} is down",
                evidence={"by": "the probes of dev1 to dev2", "direction": "R2→R4", "gain": 12.5,
                          "paths": [{"text": "dev1 R1 dev2", "state": "down"}]},
                reason=f"{number} walks show it.",
            )
            for number in (1, 2, 3)
        ]  # fmt: skip
        incident_clear(kind="link", element="link:2", source="probing:7", reason="Probes pass again.")
        TicketOperation.objects.filter(ticket__incident=made[0]).update(
            state="dead", error="550 no such user", attempts=3
        )
        return made


def titles(client: Client, query: str = "") -> list[str]:
    return re.findall(r'<a class="name"[^>]*>([^<]*)</a>', client.get(f"/t/red/incidents/?{query}").content.decode())


def test_the_newest_comes_first(incidents: list[Incident], bob_client: Client) -> None:
    assert titles(bob_client) == ["Link 3 is down", "Link 2 is down", "Link 1 is down"]
    assert titles(bob_client, "sort=title")[0] == "Link 1 is down"


def test_they_are_filtered_by_state_and_title(incidents: list[Incident], bob_client: Client) -> None:
    assert titles(bob_client, "state=open") == ["Link 3 is down", "Link 1 is down"]
    assert titles(bob_client, "state=resolved") == ["Link 2 is down"]
    assert titles(bob_client, "q=link+3") == ["Link 3 is down"]
    assert 'Open <span class="count">2</span>' in bob_client.get("/t/red/incidents/").content.decode()


def test_one_shows_evidence_timeline_and_what_the_desk_answered(incidents: list[Incident], bob_client: Client) -> None:
    html = bob_client.get(f"/t/red/incidents/{incidents[0].pk}/").content.decode()
    for text in (
        "Seen by the probes of dev1 to dev2", "Still holds", "R2→R4", "12.5", "dev1 R1 dev2", "1 walks show it.",
        "Night shift", "Refused", "550 no such user", "3 attempts", "Opened: 1 walks show it.",
    ):  # fmt: skip
        assert text in html, text


def test_a_resolved_one_keeps_its_evidence(incidents: list[Incident], bob_client: Client) -> None:
    html = bob_client.get(f"/t/red/incidents/{incidents[1].pk}/").content.decode()
    for text in ("Cleared", "dev1 R1 dev2", "Resolved: Probes pass again.", "lasted"):
        assert text in html, text


@pytest.mark.parametrize("evidence", [{"paths": "x"}, {"paths": [1, {"state": None}]}, {"direction": ["x"]}, {}])
def test_odd_evidence_breaks_nothing(evidence: dict[str, object], team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        incident = incident_report(
            kind="access", element="agent:1", source="probing:7", title="t", evidence={}, reason="r"
        )
        Incident.objects.update(evidence={"probing:7": evidence, "topology": "text"})
    assert bob_client.get(f"/t/red/incidents/{incident.pk}/").status_code == 200
    assert bob_client.get("/t/red/").status_code == 200


def test_it_is_refreshed_by_itself(incidents: list[Incident], bob_client: Client) -> None:
    part = bob_client.get(f"/t/red/incidents/{incidents[0].pk}/", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith(f'<div id="incident-{incidents[0].pk}"')
    assert "netops:incidents from:body" in part
