"""From probes to the right incident and back, with outcomes computed from cut links."""

from __future__ import annotations

import pytest

from inventory.models import Link
from probing.models import Campaign, Path
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
    simulation.run(5)
    assert open_incidents() == [incident], "and nothing else"
    simulation.cut = set()
    assert simulation.run(15, until=lambda: not open_incidents()) < 15
    simulation.run(3)
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
    simulation.run(3)
    assert open_incidents() == [incident]
    simulation.cut = set()
    assert simulation.run(15, until=lambda: not open_incidents()) < 15
