"""What pages of agents, devices, links and incidents show of consoles: each is a click away."""

from __future__ import annotations

import re

from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from agents.models import Agent
from consoles.models import ConsolePort
from consoles.rules import match_of
from core.scope import current_team_id
from inventory.models import Device, Link
from tenancy.models import Team
from ticketing.models import Incident


def agent_consoles(agent: Agent) -> dict[str, int]:
    """{name of a serial port: its console}."""
    return dict(ConsolePort.objects.filter(agent=agent).values_list("name", "pk"))


def device_consoles(device: Device) -> SafeString:
    return _shown(ConsolePort.objects.filter(device=device))


def link_consoles(link: Link) -> SafeString:
    return _shown(ConsolePort.objects.filter(device__in=[link.a_device_id, link.z_device_id]))


def incident_consoles(incident: Incident) -> SafeString:
    """Of the devices at the ends of its links (element `link:1`, or a list of them), and the consoles that it names."""
    links = Link.objects.filter(pk__in=re.findall(r"link:(\d+)", incident.element))
    ends = Q(device__in=links.values("a_device")) | Q(device__in=links.values("z_device"))
    named = Q(pk__in=re.findall(r"console(?:-rule:\d+)?:(\d+)", incident.element))
    return _shown(ConsolePort.objects.filter(ends | named))


def _shown(found: QuerySet[ConsolePort]) -> SafeString:
    ports = list(found.select_related("agent", "device").order_by("device__name", "title", "name"))
    if not ports:
        return SafeString("")
    slug = Team.objects.get(pk=current_team_id()).slug
    return render_to_string("consoles/_panel.html", {"ports": ports, "slug": slug})


def rule_match(incident: Incident) -> SafeString:
    match = match_of(incident)
    if match is None:
        return SafeString("")
    slug = Team.objects.get(pk=current_team_id()).slug
    return render_to_string("consoles/_match.html", {"match": match, "slug": slug})
