"""What pages of agents and devices show of consoles."""

from __future__ import annotations

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from agents.models import Agent
from consoles.models import ConsolePort
from core.scope import current_team_id
from inventory.models import Device
from tenancy.models import Team


def agent_consoles(agent: Agent) -> dict[str, int]:
    """{name of a serial port: its console}."""
    return dict(ConsolePort.objects.filter(agent=agent).values_list("name", "pk"))


def device_consoles(device: Device) -> SafeString:
    ports = list(ConsolePort.objects.filter(device=device).select_related("agent").order_by("title", "name"))
    if not ports:
        return SafeString("")
    slug = Team.objects.get(pk=current_team_id()).slug
    return render_to_string("consoles/_on_device.html", {"ports": ports, "slug": slug})
