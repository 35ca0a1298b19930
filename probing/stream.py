"""Stream 1 of the link: plans to the agent, reports into the inbox."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson

from agents.models import Agent
from core import drain
from core.scope import current_team_id
from probing.models import AgentPlan, Campaign, ReportBatch


def take_reports(agent: Agent, rows: Sequence[ReportBatch]) -> None:
    """The drain `reports`; what it needs is loaded in the worker only."""
    from probing.reports import reports_apply

    reports_apply(agent, rows)


class ProbingStream:
    def receive(self, agent: Agent, boot: str, offset: int, payload: bytes) -> None:
        ReportBatch.objects.create(agent=agent, boot=boot, offset=offset, payload=payload)
        drain.nudge("reports", current_team_id(), agent.pk)

    def plan(self, agent: Agent) -> tuple[int, bytes] | None:
        row = AgentPlan.objects.filter(agent=agent, version__gt=0).first()
        return (row.version, orjson.dumps(row.plan)) if row else None

    def versions(self, agents: Collection[int]) -> dict[int, int]:
        rows = AgentPlan.objects.filter(agent_id__in=agents, version__gt=0)
        return dict(rows.values_list("agent_id", "version"))

    def refused(self, agent: Agent, version: int, sentence: str) -> None:
        """Said on the pages of its campaigns until the next planning."""
        note = f"The agent {agent.name} refuses plan {version}: {sentence}"
        for campaign in Campaign.objects.select_for_update().filter(agent=agent, enabled=True):
            campaign.notes = [*(its for its in campaign.notes if its != note), note]
            campaign.save(update_fields=["notes"])
