"""Campaigns: what a user may ask for, and the hand-over to planning. Every function works on the team in scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from agents.models import Agent
from core import drain
from core.live import publish
from core.scope import current_team_id, team_scope
from inventory.models import Endpoint
from probing.models import Campaign, CampaignTarget

_SETTABLE = ("name", "agent", "policy", "policy_value", "style", "rate", "loss_percent", "latency_ms", "enabled")


def campaign_create(*, name: str, agent: Agent, targets: Collection[Endpoint], **values: Any) -> Campaign:
    """A campaign, planned by a worker at once. `values`: Campaign's other fields. Raises ValidationError by field."""
    campaign = Campaign()
    _set(campaign, {"name": name, "agent": agent, **values})
    _set_targets(campaign, targets)
    return campaign


def campaign_update(*, campaign: Campaign, targets: Collection[Endpoint] | None = None, **values: Any) -> Campaign:
    """Change what is given and plan anew. Raises ValidationError by field."""
    campaign = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    before = campaign.agent_id
    _set(campaign, values)
    if targets is not None:
        _set_targets(campaign, targets)
    if before != campaign.agent_id:
        from probing.agentplan import agent_plan_build

        agent_plan_build(agent=Agent.objects.get(pk=before))
    return campaign


def campaign_delete(*, campaign: Campaign) -> None:
    """Forget a campaign with its paths and their history; the incidents that it alone holds open resolve."""
    from probing.agentplan import agent_plan_build
    from probing.evaluation import evaluate

    campaign = Campaign.objects.select_for_update().get(pk=campaign.pk)
    campaign.enabled = False
    evaluate(campaign, [])
    agent = campaign.agent
    campaign.delete()
    agent_plan_build(agent=agent)
    publish(current_team_id(), "paths")


def campaigns_from(agent: Agent) -> list[str]:
    """Why this agent must stay (agents.hooks.needed_for)."""
    names = Campaign.objects.filter(agent=agent).order_by("name").values_list("name", flat=True)
    return [f"The campaign {name} probes from it: give it another agent, or delete it first." for name in names]


def campaigns_replan(team_id: int, version: int) -> None:
    """The topology has changed: every campaign of the team is planned anew (inventory.hooks.on_topology_change)."""
    for pk in Campaign.objects.filter(enabled=True).values_list("pk", flat=True):
        drain.nudge("plans", team_id, pk)


def _set(campaign: Campaign, values: dict[str, Any]) -> None:
    if unknown := sorted(set(values) - set(_SETTABLE)):
        raise ValidationError({name: f"A campaign has no field {name}." for name in unknown})
    for name, value in values.items():
        setattr(campaign, name, value)
    campaign.planned_version = None
    campaign.full_clean(exclude={"notes", "verdict", "planned_version", "planned"})
    if campaign.policy != Campaign.Policy.ALL_SHORTEST and not 0 <= campaign.policy_value <= 1000:
        raise ValidationError({"policy_value": "Give a number from 0 to 1000."})
    if campaign.policy == Campaign.Policy.K_SHORTEST and not campaign.policy_value:
        raise ValidationError({"policy_value": "At least one path is needed: give k from 1 up."})
    campaign.save()
    drain.nudge("plans", current_team_id(), campaign.pk)
    publish(current_team_id(), "paths")


def _set_targets(campaign: Campaign, targets: Iterable[Endpoint]) -> None:
    wanted = {target.pk for target in targets}
    if not wanted:
        raise ValidationError({"targets": "Name at least one end point to probe."})
    if len(wanted) > 1000:
        raise ValidationError({"targets": f"{len(wanted)} targets are over the 1000 that a campaign may have."})
    campaign.targets.exclude(endpoint_id__in=wanted).delete()
    known = set(campaign.targets.values_list("endpoint_id", flat=True))
    CampaignTarget.objects.bulk_create(CampaignTarget(campaign=campaign, endpoint_id=pk) for pk in wanted - known)


@dataclass(frozen=True)
class PlanRunner:
    """The runnable `plans`: plan a campaign against the graph of now (probing/compile.py). Safe to repeat."""

    name: str = "plans"

    def run(self, team_id: int, key_id: int) -> int:
        from probing.compile import campaign_plan

        with team_scope(team_id), transaction.atomic():
            found = Campaign.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=key_id).first()
            if found is None:
                return 0
            campaign_plan(campaign=found)
            return 1
