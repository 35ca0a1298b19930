"""What an agent is asked to send: the walks of all its campaigns, as templates, in one versioned plan."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from agents.models import Agent
from agents.nudges import group
from core.live import send_to
from inventory.models import Device, HalfLink
from pi_agent.prober.plan import MAX_RATE
from probing.models import AgentPlan, Campaign, Path

RECEIVE_PORT = 3000
# A probe is lost after half a second, and said so within a quarter: five losses at 10 probes/s show in 1.25 s.
TIMEOUT_MS = 500
REPORT_MS = 250


def agent_plan_build(*, agent: Agent) -> dict[int, list[str]]:
    """Write the agent's plan and nudge its link, if what it says has changed.

    Returns sentences on what could not be put into it, by campaign. The address, hops and rate of a walk decide its
    template, so an agent goes on with what has not changed.
    """
    row, _ = AgentPlan.objects.get_or_create(agent=agent)
    row = AgentPlan.objects.select_for_update().get(pk=row.pk)
    notes: dict[int, list[str]] = {}
    walks: list[dict[str, Any]] = []
    total = 0.0
    hops = _Hops(agent)
    for campaign in Campaign.objects.filter(agent=agent, enabled=True).order_by("id"):
        paths = list(campaign.paths.filter(active=True).order_by("id"))
        if (asked := campaign.rate * len(paths)) + total > MAX_RATE:
            notes.setdefault(campaign.pk, []).append(
                f"{asked:g} probes a second more than the {total:g} of other campaigns are over the {MAX_RATE} that an "
                "agent sends: lower the rate, or choose fewer paths."
            )
            continue
        total += asked
        for path in paths:
            walk = _walk(path, campaign, hops)
            if isinstance(walk, str):
                notes.setdefault(campaign.pk, []).append(walk)
            else:
                walks.append(walk)
    said = {"receive_port": RECEIVE_PORT, "timeout_ms": TIMEOUT_MS, "report_ms": REPORT_MS, "walks": walks}
    if {**row.plan, "version": 0} != {**said, "version": 0}:
        row.version += 1
        row.plan = {"version": row.version, **said}
        row.save()
        send_to(group(agent.pk), {"type": "plan"})
    return notes


class _Hops:
    """The addresses that pin a path of this agent, outermost first."""

    def __init__(self, agent: Agent) -> None:
        self.source = str(agent.address or "")
        paths = Path.objects.filter(campaign__agent=agent, campaign__enabled=True, active=True)
        ids = {each for out, back in paths.values_list("out", "back") for each in (*out, *back)}
        rows = HalfLink.objects.filter(pk__in=ids).values_list("pk", "remote_address", "device_id")
        self.links = {pk: (address, device) for pk, address, device in rows}
        first = {path[0] for path in paths.values_list("out", flat=True) if path}
        devices = {self.links[each][1] for each in first if each in self.links}
        self.gateways = dict(Device.objects.filter(pk__in=devices).values_list("pk", "router_id"))

    def of(self, path: Path, style: str) -> Sequence[str]:
        """A missing address is the empty text, which no template is made of."""
        loop = style == Campaign.Style.LOOP
        edges = [*path.out, *path.back] if loop else path.out
        hops = [str(self.links.get(each, ("", 0))[0] or "") for each in edges]
        if loop:
            return hops
        gateway = self.gateways.get(self.links.get(path.out[0], ("", 0))[1]) if path.out else None
        return [*([str(gateway)] if gateway else []), *hops, str(path.target.address)]


def _walk(path: Path, campaign: Campaign, hops: _Hops) -> dict[str, Any] | str:
    """The walk of a path for the plan's JSON, or one sentence why there is none."""
    from probing.packets import TemplateError, compile_walk

    pinned = hops.of(path, campaign.style)
    if "" in pinned or not hops.source:
        return f"{path} has a link without an address to pin it by: it is not probed."
    try:
        template = compile_walk(pinned, hops.source, RECEIVE_PORT, path.pk)
    except TemplateError as error:
        return f"{path}: {error}"
    return {
        "id": path.pk,
        "rate": campaign.rate,
        "template": base64.b64encode(template.packet).decode(),
        "payload_offset": template.payload_offset,
    }
