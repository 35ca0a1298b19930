"""From probes to the right incident and back, with outcomes computed from cut links."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from core.scope import current_team_id
from inventory.models import Link
from probing.models import AgentPlan, Campaign, Path
from probing.services import campaign_update
from tenancy.models import Team
from tests.probing.network import (
    DIRECTIONS,
    LINKS,
    Simulation,
    open_incidents,
    plan,
    seed_campaign,
    seed_network,
    withdraw,
)
from ticketing.models import Incident


@pytest.fixture
def campaign(scope: Team) -> Campaign:
    seed_network()
    return seed_campaign()


@pytest.fixture
def simulation(campaign: Campaign) -> Simulation:
    simulation = Simulation(campaign)
    simulation.run(2)
    assert set(Path.objects.active().values_list("state", flat=True)) == {"up"}
    return simulation


def link_named(a: str, b: str) -> Link:
    link: Link = Link.objects.get(name=f"{min(a, b)}–{max(a, b)}")
    return link


@pytest.mark.parametrize(("a", "b"), LINKS)
def test_a_cut_link_is_named_and_its_recovery_noticed(simulation: Simulation, a: str, b: str) -> None:
    simulation.cut = {(a, b), (b, a)}
    took = simulation.run(5, until=open_incidents)
    assert took < 5
    (incident,) = open_incidents()
    link = link_named(a, b)
    assert (incident.kind, incident.element) == ("link", f"link:{link.pk}")
    assert incident.title == f"Link {link.name} is down"
    evidence = incident.evidence[f"probing:{simulation.campaign.pk}"]
    assert evidence["direction"] == "both"
    assert evidence["paths"]
    assert all(path["state"] == "down" for path in evidence["paths"])
    simulation.run(2)
    assert open_incidents() == [incident], "and nothing else"
    simulation.cut = set()
    assert simulation.run(15, until=lambda: not open_incidents()) < 15
    simulation.run(1)
    assert Incident.objects.count() == 1
    assert incident.events.filter(text__startswith="Title").count() == 0


@pytest.mark.parametrize(("a", "b"), DIRECTIONS)
def test_a_link_cut_one_way_is_named_with_its_direction(simulation: Simulation, a: str, b: str) -> None:
    simulation.cut = {(a, b)}
    assert simulation.run(5, until=open_incidents) < 5
    (incident,) = open_incidents()
    assert incident.element == f"link:{link_named(a, b).pk}"
    assert incident.title == f"Link {a}→{b} is down"
    assert incident.evidence[f"probing:{simulation.campaign.pk}"]["direction"] == f"{a}→{b}"
    simulation.run(1)
    assert open_incidents() == [incident]
    simulation.cut = set()
    assert simulation.run(15, until=lambda: not open_incidents()) < 15


def test_two_cuts_are_two_incidents_that_end_one_by_one(simulation: Simulation) -> None:
    simulation.cut = {("R2", "R4"), ("R4", "R2"), ("R3", "R5"), ("R5", "R3")}
    simulation.run(6)
    first, second = (link_named("R2", "R4"), link_named("R3", "R5"))
    assert {each.element for each in open_incidents()} == {f"link:{first.pk}", f"link:{second.pk}"}
    simulation.cut = {("R3", "R5"), ("R5", "R3")}
    simulation.run(10)
    assert [each.element for each in open_incidents()] == [f"link:{second.pk}"]
    simulation.cut = set()
    simulation.run(6)
    assert not open_incidents()
    assert Incident.objects.count() == 2


def test_partial_loss_one_way_is_a_warning_with_its_share(simulation: Simulation) -> None:
    simulation.loss = {("R2", "R4"): 0.2}
    simulation.run(40, until=open_incidents)
    (incident,) = open_incidents()
    assert incident.element == f"link:{link_named('R2', 'R4').pk}"
    assert incident.severity == "warning"
    assert incident.title.startswith("Link R2→R4 loses packets (")
    simulation.run(10)
    assert open_incidents() == [incident]
    simulation.loss = {}
    simulation.run(60, until=lambda: not open_incidents())
    assert not open_incidents()


def test_the_agents_own_access_is_not_blamed_on_a_link(simulation: Simulation) -> None:
    simulation.access = False
    assert simulation.run(5, until=open_incidents) < 5
    (incident,) = open_incidents()
    agent = simulation.campaign.agent
    assert (incident.kind, incident.element) == ("access", f"agent:{agent.pk}")
    assert incident.title == "Access of agent dev1 is down"
    simulation.access = True
    assert simulation.run(15, until=lambda: not open_incidents()) < 15


def test_a_hiccup_opens_nothing(simulation: Simulation) -> None:
    for _ in range(5):
        simulation.cut = set(DIRECTIONS)
        simulation.run(0.25)
        simulation.cut = set()
        simulation.run(2)
    assert not Incident.objects.exists()
    assert set(Path.objects.active().values_list("state", flat=True)) <= {"up", "degraded"}


def test_background_loss_at_ten_times_the_rate_opens_nothing(campaign: Campaign) -> None:
    Campaign.objects.update(rate=100)
    simulation = Simulation(Campaign.objects.get(), everywhere=0.001)
    simulation.run(60)
    assert not Incident.objects.exists()
    assert set(Path.objects.active().values_list("state", flat=True)) == {"up"}


def test_a_silent_agent_makes_paths_unknown_and_nothing_else(simulation: Simulation) -> None:
    Path.objects.update(heard=timezone.now() - timedelta(seconds=60))
    from probing.tasks import _mark_silent

    assert _mark_silent(current_team_id()) == Path.objects.active().count()
    assert set(Path.objects.active().values_list("state", flat=True)) == {"unknown"}
    assert not Incident.objects.exists()
    simulation.run(1)
    assert set(Path.objects.active().values_list("state", flat=True)) == {"up"}


def test_silence_during_a_fault_neither_clears_nor_adds(simulation: Simulation) -> None:
    simulation.cut = {("R2", "R4"), ("R4", "R2")}
    simulation.run(5, until=open_incidents)
    (incident,) = open_incidents()
    Path.objects.update(state="unknown")
    plan(simulation.campaign)
    assert open_incidents() == [incident]
    simulation.run(5)
    assert open_incidents() == [incident]
    simulation.cut = set()
    assert simulation.run(15, until=lambda: not open_incidents()) < 15


def test_an_announced_withdrawal_hands_the_incident_over(simulation: Simulation) -> None:
    """Routing withdraws the link two seconds after packets stopped: its walks vanish, and so does this cause."""
    simulation.cut = {("R2", "R4"), ("R4", "R2")}
    simulation.run(2.5, until=open_incidents)
    assert len(open_incidents()) == 1
    withdraw("R2", "R4")
    plan(simulation.campaign)
    assert not open_incidents()
    link = link_named("R2", "R4")
    halves = set(link.half_links.values_list("pk", flat=True))
    for path in Path.objects.active():
        assert not halves & {*path.out, *path.back}
    simulation.run(5)
    withdraw("R2", "R4", up=True)
    simulation.cut = set()
    plan(simulation.campaign)
    simulation.run(5)
    assert Incident.objects.count() == 1, "no other link was blamed"
    assert Path.objects.active().filter(role="path").count() == 8
    assert set(Path.objects.active().values_list("state", flat=True)) == {"up"}


def test_a_disabled_campaign_lets_go_of_its_incidents(simulation: Simulation) -> None:
    simulation.cut = {("R2", "R4"), ("R4", "R2")}
    simulation.run(5, until=open_incidents)
    campaign_update(campaign=simulation.campaign, enabled=False)
    plan(simulation.campaign)
    assert not open_incidents()
    assert AgentPlan.objects.get().plan["walks"] == []


def test_links_that_cannot_be_told_apart_are_one_honest_incident(scope: Team) -> None:
    """One path, pinned out only: its links break the same single probe."""
    seed_network()
    campaign = seed_campaign(policy="k_shortest", policy_value=1, style="one_way")
    simulation = Simulation(campaign)
    simulation.run(2)
    path = Path.objects.active().get()
    simulation.cut = {(path.out_names[1], path.out_names[2])}
    simulation.run(10, until=open_incidents)
    (incident,) = open_incidents()
    assert incident.title.startswith("One of ")
    for near, far in pairwise(path.out_names):
        assert f"link:{link_named(near, far).pk}" in incident.element
    simulation.cut = set()
    simulation.run(15, until=lambda: not open_incidents())
    assert not open_incidents()
