"""REST of probing and agents: what it answers, and the walls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from agents.models import Agent
from core.scope import team_scope
from probing.models import Campaign, Path
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.probing.network import Simulation, seed_campaign, seed_network

LISTS = ("/api/agents/agents/", "/api/probing/campaigns/", "/api/probing/paths/")


@pytest.fixture
def campaign(team: Team) -> Campaign:
    with team_scope(team.pk):
        seed_network()
        campaign = seed_campaign()
        Simulation(campaign).run(2)
        return campaign


def get(client: Client, url: str, status: int = 200, **query: str | int) -> Any:
    response = client.get(url, query)
    assert response.status_code == status, response.content
    return json.loads(response.content)


def test_campaigns_paths_and_minutes(alice_client: Client, campaign: Campaign) -> None:
    (row,) = get(alice_client, "/api/probing/campaigns/")["results"]
    assert (row["name"], row["agent"]["name"], row["policy"]["value"], row["notes"]) == (
        "dev1 to dev2",
        "dev1",
        "all",
        [],
    )
    paths = get(alice_client, "/api/probing/paths/", role="path", state="up", target="dev2", campaign_id=campaign.pk)
    assert paths["count"] == 8
    path = paths["results"][0]
    assert path["hops"][0] == "R1"
    assert path["rtt_us"] > 0
    assert path["loss_percent"] == 0
    minutes = get(alice_client, f"/api/probing/paths/{path['id']}/minutes/", hours=2)["results"]
    assert sum(minute["sent"] for minute in minutes) >= 15
    assert minutes[0]["rtts"][0] == pytest.approx(path["rtt_us"] / 1000, rel=1e-2)
    (agent,) = get(alice_client, "/api/agents/agents/")["results"]
    assert agent["name"] == "dev1"


@pytest.mark.parametrize("hours", ["0", "49", "x", "nan", "-1"])
def test_a_wrong_number_of_hours_is_named(alice_client: Client, campaign: Campaign, hours: str, team: Team) -> None:
    with team_scope(team.pk):
        path = Path.objects.first()
        assert path
    assert "hours" in get(alice_client, f"/api/probing/paths/{path.pk}/minutes/", 400, hours=hours)


def test_a_campaign_by_post(alice_client: Client, campaign: Campaign, team: Team) -> None:
    body = {
        "name": "more",
        "agent": {"name": "dev1"},
        "targets": [{"name": "dev2"}],
        "policy": "all_shortest",
        "rate": 2,
    }
    answer = alice_client.post("/api/probing/campaigns/", body, "application/json")
    assert answer.status_code == 201, answer.content
    with team_scope(team.pk):
        made = Campaign.objects.get(pk=answer.json()["id"])
        assert (made.name, made.rate, made.targets.count()) == ("more", 2, 1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"agent": {"name": "nobody"}}, "agent"),
        ({"targets": [{"name": "nowhere"}]}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": "dev2"}, "targets"),
        ({"agent": "dev1"}, "agent"),
        ({"rate": -1}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"policy": "best"}, "policy"),
        ({"name": "dev1 to dev2"}, "detail"),
    ],
)
def test_a_wrong_campaign_is_refused_by_field(
    alice_client: Client, campaign: Campaign, team: Team, change: dict[str, Any], field: str
) -> None:
    body = {"name": "more", "agent": {"name": "dev1"}, "targets": [{"name": "dev2"}]} | change
    answer = alice_client.post("/api/probing/campaigns/", body, "application/json")
    assert answer.status_code == 400
    assert field in answer.json()
    with team_scope(team.pk):
        assert Campaign.objects.count() == 1


def test_a_viewer_reads_and_does_not_write(bob_client: Client, campaign: Campaign) -> None:
    for url in LISTS:
        assert get(bob_client, url)["count"]
    body = {"name": "more", "agent": {"name": "dev1"}, "targets": [{"name": "dev2"}]}
    assert bob_client.post("/api/probing/campaigns/", body, "application/json").status_code == 403


def test_an_outsider_sees_nothing_and_reaches_nothing(
    charlie_client: Client, charlie: User, campaign: Campaign, team: Team, other_team: Team
) -> None:
    for url in LISTS:
        assert get(charlie_client, url)["count"] == 0
    with team_scope(team.pk):
        path = Path.objects.first()
        assert path
    get(charlie_client, f"/api/probing/paths/{path.pk}/minutes/", 404)
    body = {"name": "theirs", "agent": {"name": "dev1"}, "targets": [{"name": "dev2"}]}
    assert charlie_client.post("/api/probing/campaigns/", body, "application/json").status_code == 400
    token = token_create(team=other_team, role="owner")
    assert get(Client(headers={"Authorization": f"Token {token}"}), LISTS[2])["count"] == 0


def test_nobody_gets_in_without_a_token(db: None) -> None:
    for url in LISTS:
        assert Client().get(url).status_code == 401


def test_the_incident_panel_shows_the_paths_over_the_link(campaign: Campaign, team: Team) -> None:
    from probing.panels import affected_paths
    from ticketing.models import Incident

    with team_scope(team.pk):
        simulation = Simulation(campaign)
        simulation.run(2)
        simulation.cut = {("R2", "R4"), ("R4", "R2")}
        simulation.run(5, until=lambda: Incident.objects.exists())
        html = affected_paths(Incident.objects.get())
        shown = [path for path in Path.objects.active() if f"/paths/{path.pk}/" in html]
        assert shown
        assert all(path.state == "down" for path in shown)
        Incident.objects.update(kind="access", element=f"agent:{Agent.objects.get().pk}")
        assert affected_paths(Incident.objects.get()).count("<li>") == Path.objects.active().count()


def patch(client: Client, pk: int, body: dict[str, object]) -> tuple[int, dict[str, object]]:
    answer = client.patch(f"/api/probing/campaigns/{pk}/", body, "application/json")
    return answer.status_code, answer.json()


def test_a_campaign_is_changed_by_patch(alice_client: Client, campaign: Campaign, team: Team) -> None:
    status, answer = patch(alice_client, campaign.pk, {"rate": 40})
    assert (status, answer["id"], answer["rate"]) == (200, campaign.pk, 40)
    with team_scope(team.pk):
        campaign.refresh_from_db()
    assert campaign.rate == 40


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", 0), ("rate", "fast"), ("agent", {"name": "nobody"}), ("targets", [{"name": "nobody"}])],
)
def test_a_wrong_change_is_refused_by_field(
    alice_client: Client, campaign: Campaign, field: str, value: object
) -> None:
    status, answer = patch(alice_client, campaign.pk, {field: value})
    assert status == 400
    assert list(answer) == [field]


def test_only_who_may_changes_a_campaign(
    bob_client: Client, charlie_client: Client, campaign: Campaign, team: Team
) -> None:
    assert patch(bob_client, campaign.pk, {"rate": 40})[0] == 403
    assert patch(charlie_client, campaign.pk, {"rate": 40})[0] == 404
    with team_scope(team.pk):
        before = campaign.rate
        campaign.refresh_from_db()
    assert campaign.rate == before
