"""Campaigns and paths."""

import re
import struct
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from core.scope import team_scope
from probing.models import Campaign, Path, PathMinute, minute_of
from probing.selectors import round_trips
from tenancy.models import Team
from tests.rows import Lab, campaign_rows, lab_rows, minute_row
from ticketing.services import incident_report


@pytest.fixture
def lab(team: Team) -> Lab:
    with team_scope(team.pk):
        lab = lab_rows()
        campaign_rows(lab, ("R1 R2 R4 R6", "R1 R3 R5 R6", "R1 R2 R5 R6"))
        Path.objects.filter(pk=lab.paths[1].pk).update(state="down", loss_percent=100, rtt_us=None)
        Path.objects.filter(pk=lab.paths[2].pk).update(role="cover")
        return lab


def shown(client: Client, query: str, lab: Lab) -> list[int]:
    assert lab.campaign
    html = client.get(f"/t/red/campaigns/{lab.campaign.pk}/?{query}").content.decode()
    return [int(pk) for pk in re.findall(r'<a class="hops" href="/t/red/paths/(\d+)/"', html)]


def test_the_only_campaign_is_opened_at_once(lab: Lab, team: Team, bob_client: Client) -> None:
    assert lab.campaign
    assert bob_client.get("/t/red/paths/").headers["Location"] == f"/t/red/campaigns/{lab.campaign.pk}/"
    with team_scope(team.pk):
        Campaign.objects.create(name="second", agent=lab.campaign.agent)
    html = bob_client.get("/t/red/paths/").content.decode()
    assert "second" in html
    assert "of 2 paths up" in html


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("", [0, 1]),
        ("state=down", [1]),
        ("state=degraded", []),
        ("role=cover", [2]),
        ("q=R5", [1]),
        ("sort=-path", [1, 0]),
    ],
)
def test_paths_are_filtered(query: str, places: list[int], lab: Lab, bob_client: Client) -> None:
    assert shown(bob_client, query, lab) == [lab.paths[place].pk for place in places]


def test_states_are_counted_and_said_in_words(lab: Lab, bob_client: Client) -> None:
    assert lab.campaign
    html = bob_client.get(f"/t/red/campaigns/{lab.campaign.pk}/").content.decode()
    for text in (
        'Down <span class="count">1</span>',
        'Paths <span class="count">2</span>',
        "100 %",
        "0.640 ms",
        "Online",
    ):
        assert text in html
    assert html.count('class="spark"') == 2


def test_planning_says_what_it_could_not_do(lab: Lab, team: Team, bob_client: Client) -> None:
    assert lab.campaign
    with team_scope(team.pk):
        Campaign.objects.update(notes=["2 links are in no walk."])
    assert "2 links are in no walk." in bob_client.get(f"/t/red/campaigns/{lab.campaign.pk}/").content.decode()


def test_a_path_shows_its_way_its_hour_and_its_incident(lab: Lab, team: Team, bob_client: Client) -> None:
    path = lab.paths[0]
    with team_scope(team.pk):
        minute_row(path, minute_of(timezone.now() - timedelta(minutes=5)), [2.5] * 30, sent=60)
        incident_report(
            kind="link", element=f"link:{lab.links['R2–R4'].pk}", source="probing:1", title="Link R2→R4 is down",
            evidence={}, reason="r",
        )  # fmt: skip
    html = bob_client.get(f"/t/red/paths/{path.pk}/").content.decode()
    for text in ("10.1.1.4 → 10.1.1.5", "Link R2→R4 is down", "<dd>180</dd>", "<dd>150</dd>", "17 %", "2.50 ms"):
        assert text in html, text
    assert html.count('<li class="way-fault">') == 2
    assert html.count("<rect ") == 1


def test_a_path_never_heard_of_says_so(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        PathMinute.objects.all().delete()
    html = bob_client.get(f"/t/red/paths/{lab.paths[0].pk}/").content.decode()
    assert "No probe of this path came back in the last hour." in html


def test_round_trips_have_a_gap_where_nothing_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 4, 5, 6, 31, tzinfo=UTC)
    monkeypatch.setattr("probing.selectors.timezone.now", lambda: now)
    last = minute_of(now)
    rows = {
        last - timedelta(minutes=2): {"rtts": struct.pack("<4e", 1, 3, 5, 7)},
        last: {"rtts": struct.pack("<2e", 2, 4)},
    }
    assert round_trips(rows, 4, 2) == [None, None, 2, 6, None, None, 3]
    assert round_trips({}, 5, 2) == []
    assert round_trips({last: {"rtts": b""}}, 1, 2) == []
