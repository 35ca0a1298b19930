"""Two machines with one key (a cloned card): how they are told from one that started again, and what people choose.

The lives of one machine's boots never overlap: what the old one signed, it signed before the new one began. Where that
is not so there are two machines. A link can be asked (agents/gateway.py); reports by HTTP count the nanoseconds since
their boot, so each says when its boot began (agents/reports.py).
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F

from agents.models import Agent
from agents.nudges import group
from core.live import publish, send_to
from core.scope import current_team_id
from ticketing.services import incident_clear, incident_report


def clash_report(*, agent_id: int, evidence: dict[str, Any], found: str) -> None:
    """Two machines use one key: one incident until somebody chooses."""
    # Who puts it out at this moment resolves the incident: not after that.
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id, state=Agent.State.ENROLLED).first()
    if agent and not agent.rekey:
        incident_report(
            kind="agent",
            element=clash_element(agent_id),
            source="agents",
            title=f"Two machines use the key of agent {agent.name}",
            evidence=evidence,
            severity="warning",
            reason=found,
        )


def clash_element(agent_id: int) -> str:
    return f"agent:{agent_id}:key"


def clash_clear(*, agent: Agent, reason: str) -> None:
    incident_clear(kind="agent", element=clash_element(agent.pk), source="agents", reason=reason)


def agent_keep(*, agent: Agent) -> Agent:
    """Of the machines with its key only the one that is connected stays: it is told to take another key, and no other
    boot is let in from now on. The old key is worth nothing afterwards."""
    changed = Agent.objects.filter(pk=agent.pk, state=Agent.State.ENROLLED, online=True).update(
        rekey=True, epoch=F("epoch") + 1
    )
    if not changed:
        raise ValidationError({"online": "No link of this agent is up: connect the machine that is to stay."})
    send_to(group(agent.pk), {"type": "rekey"})
    publish(current_team_id(), "agents")
    agent.refresh_from_db()
    return agent
