"""The sweep that notices dead agents: one incident while an agent is dead, by the server's clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from agents.models import Agent
from ticketing.models import Incident
from ticketing.services import incident_clear, incident_report

SOURCE = "agents"


def agents_watch(*, listening_since: datetime) -> int:
    """Open and resolve the incidents of the team in scope; returns how many changed.

    Nobody is dead for having been silent while nobody listened (`listening_since`). Who returns must be heard for as
    long as it takes to be dead before the incident resolves, so that one that comes and goes is one incident.
    """
    now = timezone.now()
    rows = Incident.objects.open().filter(kind="agent", element__regex=r"^agent:\d+$")
    known = set(rows.values_list("element", flat=True))
    watched = [Agent.State.ENROLLED, Agent.State.LEGACY]
    dead = {
        f"agent:{agent.pk}": agent
        for agent in Agent.objects.with_status(now).filter(state__in=watched, status="dead", maintenance=False)
        if now - max(agent.last_seen, listening_since) > timedelta(seconds=agent.holdtime_s)
    }
    # In a fixed order, as ticketing asks.
    opened = sorted(dead.keys() - known)
    for element in opened:
        agent = dead[element]
        incident_report(
            kind="agent",
            element=element,
            source=SOURCE,
            title=f"Agent {agent.name} is dead",
            evidence={"hostname": agent.hostname, "serial": agent.serial, "last_seen": agent.last_seen.isoformat()},
            reason=f"Nothing was heard of it since {agent.last_seen:%Y-%m-%d %H:%M:%S} UTC",
        )
    cleared = {element: reason for element in sorted(known - dead.keys()) if (reason := _over(element, now))}
    for element, reason in cleared.items():
        incident_clear(kind="agent", element=element, source=SOURCE, reason=reason)
    return len(opened) + len(cleared)


def _over(element: str, now: datetime) -> str:
    """Why the incident is over; empty where it is not."""
    agent = Agent.objects.with_status(now).filter(pk=int(element.removeprefix("agent:"))).first()
    if agent is None or agent.state == Agent.State.REVOKED:
        return "The agent was put out"
    if agent.maintenance:
        return "The agent is under maintenance"
    steady = timedelta(seconds=agent.holdtime_s)
    if agent.status in ("online", "late") and (agent.back is None or now - agent.back >= steady):
        return "The agent is heard again"
    return ""
