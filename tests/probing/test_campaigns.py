"""Campaigns become paths and agents' plans, against the seed lab as rows."""

from __future__ import annotations

import base64
import socket
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from agents.models import Agent
from agents.streams import streams
from core import drain
from core.scope import current_team_id
from inventory.models import Endpoint, HalfLink, Prefix, sorted_name
from pi_agent.frames import PROBING
from pi_agent.prober.plan import Plan
from probing.models import AgentPlan, Campaign, Path
from probing.services import campaign_create, campaign_update
from tenancy.models import Team
from tests.probing.network import SEED, plan, seed_campaign, seed_network, withdraw


@pytest.fixture
def network(scope: Team) -> None:
    seed_network()


def agents_plan() -> Plan:
    """As the agent itself reads it."""
    pushed = streams[PROBING].plan(Agent.objects.get())
    assert pushed
    version, payload = pushed
    read = Plan.from_json(payload)
    assert read.version == version
    return read


def notes() -> list[str]:
    found: list[str] = Campaign.objects.get().notes
    return found


def due() -> set[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT drain, key_id FROM netops_due_keys()")
        return set(cursor.fetchall())


def destinations(template: bytes) -> list[str]:
    """Of each IPv4 header, outermost first."""
    return [socket.inet_ntoa(template[at + 16 : at + 20]) for at in range(0, len(template) - 52 + 1, 24)]


def test_the_eight_paths_of_the_seed_lab_and_loops_that_cover_every_direction(network: None) -> None:
    campaign = seed_campaign()
    paths = Path.objects.active().filter(role="path")
    expected = [path[1:-1] for path in SEED["all_simple_paths_dev1_dev2"]]
    assert sorted(paths.values_list("out_names", flat=True)) == sorted(expected)
    crossed = {each for path in Path.objects.active() for each in (*path.out, *path.back)}
    assert crossed == set(HalfLink.objects.values_list("pk", flat=True))
    assert Path.objects.active().filter(role="cover").exists()
    assert (campaign.notes, campaign.planned_version) == ([], 1)
    for path in paths:
        assert path.back_names[0] == path.out_names[-1] == "R6"
        assert path.back_names[-1] == "R1"


def test_a_campaign_that_was_switched_off_is_swept_until_its_paths_are_gone(network: None) -> None:
    campaign = campaign_update(campaign=seed_campaign(), enabled=False)
    assert Path.objects.active().exists()
    assert due() == {("plans", campaign.pk)}  # its nudge may be lost
    plan(campaign)
    assert not Path.objects.active().exists()
    assert due() == set()


def test_the_agent_accepts_the_plan_and_its_packets_are_pinned_out_and_back(network: None) -> None:
    campaign = seed_campaign(rate=20)
    walks = {walk.id: walk for walk in agents_plan().walks}
    assert set(walks) == set(Path.objects.active().values_list("pk", flat=True))
    remote = dict(HalfLink.objects.values_list("pk", "remote_address"))
    for path in Path.objects.active():
        hops = [remote[each] for each in (*path.out, *path.back)]
        assert destinations(walks[path.pk].template) == [*hops, str(campaign.agent.address)]
        assert walks[path.pk].rate == 20


def test_a_plan_is_written_again_only_when_it_says_something_else(network: None) -> None:
    campaign = seed_campaign()
    assert AgentPlan.objects.get().version == 1
    plan(campaign)
    assert AgentPlan.objects.get().version == 1
    campaign_update(campaign=campaign, loss_percent=7)
    plan(campaign)
    assert AgentPlan.objects.get().version == 1, "thresholds are the server's"
    campaign_update(campaign=campaign, rate=11)
    plan(campaign)
    assert AgentPlan.objects.get().version == 2


def test_after_a_withdrawal_the_same_hops_keep_their_row_and_state(network: None) -> None:
    campaign = seed_campaign()
    before = {path.key: path.pk for path in Path.objects.active()}
    Path.objects.update(state="up", rtt_us=900)
    withdraw("R2", "R5")
    assert ("plans", campaign.pk) in due()
    plan(campaign)
    assert ("plans", campaign.pk) not in due()
    after = Path.objects.active()
    assert 0 < after.filter(role="path").count() < 8
    for path in after:
        if path.key in before:
            assert (path.pk, path.state, path.rtt_us) == (before[path.key], "up", 900)
        else:
            assert path.state == "unknown"
    assert AgentPlan.objects.get().version == 2
    withdraw("R2", "R5", up=True)
    plan(campaign)
    assert Path.objects.active().filter(role="path").count() == 8
    for path in Path.objects.active().filter(key__in=before):
        assert path.pk == before[path.key]


def test_the_one_way_style_is_the_stack_of_the_reference(network: None) -> None:
    seed_campaign(style="one_way")
    assert Path.objects.active().count() == 8
    walks = {walk.id: walk for walk in agents_plan().walks}
    path = next(path for path in Path.objects.all() if path.out_names == ["R1", "R2", "R4", "R6"])
    hops = destinations(walks[path.pk].template)
    reference = SEED["probe_example"]["ip_destinations"]
    assert hops[0] == "10.255.0.1", "the agent's router, by its router-id"
    assert hops[1:] == reference[1:]


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda: Agent.objects.update(address=None), "has no address: set one"),
        (lambda: Prefix.objects.filter(device__name="R1").delete(), "No device announces the network of the agent"),
        (lambda: Prefix.objects.filter(device__name="R6").delete(), "No device announces the network of dev2"),
        (lambda: HalfLink.objects.filter(device__name="R6").update(up=False), "There is no path from R1 to R6"),
        (lambda: HalfLink.objects.filter(device__name="R6").update(remote_address="2001:db8::1"), "IPv4"),
        (lambda: Campaign.objects.update(rate=990), "over the 10000"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_sentence(network: None, break_it: Any, sentence: str) -> None:
    campaign = seed_campaign()
    break_it()
    withdraw("R1", "R1")  # no link: a new version is all it does
    plan(campaign)
    assert any(sentence in note for note in notes()), notes()
    assert Campaign.objects.get().planned_version == 2
    agents_plan()


def test_a_refused_plan_is_said_on_the_campaign(network: None) -> None:
    campaign = seed_campaign()
    streams[PROBING].refused(campaign.agent, 1, "this agent cannot probe, give it CAP_NET_RAW")
    assert notes() == ["The agent dev1 refuses plan 1: this agent cannot probe, give it CAP_NET_RAW"]


def test_a_target_next_to_the_agent_is_no_path(network: None) -> None:
    agent = Agent.objects.create(name="dev1", public_key="cd" * 32, address="20.0.0.2")
    target = Endpoint.objects.get(name="dev1")
    campaign = campaign_create(name="self", agent=agent, targets=[target])
    plan(campaign)
    assert "is on R1 like the agent" in notes()[0]


def test_two_campaigns_share_the_agents_plan(network: None) -> None:
    first = seed_campaign(policy="all_shortest")
    other = Endpoint.objects.create(**sorted_name("lo"), address="20.0.0.5")
    second = campaign_create(name="second", agent=first.agent, targets=[other], policy="all_shortest", rate=3)
    plan(second)
    rates = {walk.rate for walk in agents_plan().walks}
    assert rates == {10, 3}
    assert len(agents_plan().walks) == Path.objects.active().count()
    campaign_update(campaign=first, enabled=False)
    plan(first)
    assert {walk.rate for walk in agents_plan().walks} == {3}


def test_another_agent_takes_the_campaign_over(network: None) -> None:
    campaign = seed_campaign()
    other = Agent.objects.create(name="dev2", public_key="cd" * 32, address="20.0.0.6")
    campaign_update(campaign=campaign, agent=other, targets=[Endpoint.objects.get(name="dev1")])
    plan(campaign)
    plans = {row.agent.name: row.plan["walks"] for row in AgentPlan.objects.all()}
    assert plans["dev1"] == []
    assert len(plans["dev2"]) == Path.objects.active().count() > 8
    template = base64.b64decode(plans["dev2"][0]["template"])
    assert destinations(template)[-1] == "20.0.0.6"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"rate": 0}, "rate"),
        ({"rate": 1e9}, "rate"),
        ({"loss_percent": 101}, "loss_percent"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"policy": "every"}, "policy"),
        ({"policy": "k_shortest", "policy_value": 0}, "policy_value"),
        ({"style": "up"}, "style"),
        ({"targets": []}, "targets"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_campaign_is_refused_by_field(network: None, values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        seed_campaign(**values)
    assert field in refused.value.message_dict


def test_a_change_of_the_topology_nudges_every_campaign(
    network: None, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inventory.hooks import on_topology_change

    campaign = seed_campaign()
    sent: list[tuple[str, int, int]] = []
    monkeypatch.setattr(drain, "nudge", lambda *nudge: sent.append(nudge))
    for callback in on_topology_change:
        callback(current_team_id(), 2)
    assert sent == [("plans", current_team_id(), campaign.pk)]
