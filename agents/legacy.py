"""PiCon agents, which register unmodified: no key, only a token in their URL. Inventory and liveness, nothing else."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from agents.enrolment import free_name
from agents.models import Agent, LegacyToken, legacy_token_of
from agents.reports import UnknownAgent
from agents.services import machine_told, tunnel_port
from core.live import publish
from core.scope import acting, current_team_id, team_scope
from pi_agent.fields import Fields
from pi_agent.registration import MAX_ADDRESSES, MAX_INTERFACES, MAX_PORTS, Interface, Port
from tenancy.models import User
from tenancy.services import address_allowed, network_text, token_digest

MAX_AGENTS = 10_000
"""Of one team: whoever has the token can make them."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a PiCon agent posts every 60 s. Interfaces without addresses are told too."""

    hostname: str
    serial: str
    holdtime_s: int
    interfaces: tuple[Interface, ...]
    ports: tuple[Port, ...]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises FrameError naming the field."""
        fields = Fields.parse(body, "registration")
        names = fields.mapping("interfaces", MAX_INTERFACES)
        ports = fields.array("ports", MAX_PORTS)
        if not all(isinstance(name, str) and 0 < len(name) <= 255 and name.isprintable() for name in ports):
            fields.refuse("ports", "a list of printable texts of 1 to 255 characters")
        return cls(
            fields.text("hostname"),
            fields.text("sn", empty=True),
            fields.integer("holdtime", 10, 7 * 86400),
            tuple(_interface(fields, name, value) for name, value in names.items()),
            tuple(Port(name, name) for name in dict.fromkeys(ports)),
        )


def _interface(fields: Fields, name: str, value: Any) -> Interface:
    if not 0 < len(name) <= 64 or not name.isprintable():
        fields.refuse("interfaces", "an object from printable names of 1 to 64 characters")
    told = Fields(value, "registration: interfaces")
    try:
        addresses = tuple(str(ipaddress.ip_address(str(each))) for each in told.array("addrs", MAX_ADDRESSES))
    except ValueError:
        told.refuse("addrs", "a list of IP addresses")
    return Interface(name, told.boolean("state"), "", addresses)


def legacy_token_create(
    *, name: str, networks: Sequence[str] = (), created_by: User | None = None
) -> tuple[LegacyToken, str]:
    """A token and its secret, which is seen only this once; good until it is revoked."""
    secret = secrets.token_urlsafe(24)
    token = LegacyToken(name=name.strip(), digest=token_digest(secret), created_by=created_by)
    token.networks = [network_text(each) for each in networks]
    token.clean_fields(exclude={"created_by", "last_used"})
    token.save()
    publish(current_team_id(), "agents")
    return token, secret


def endpoint(secret: str) -> str:
    """What a PiCon agent is given as its endpoint."""
    return f"{settings.PUBLIC_URL}/picon/{secret}/api/"


def legacy_token_revoke(*, token: LegacyToken) -> None:
    token.delete()
    publish(current_team_id(), "agents")


def legacy_register(*, secret: str, address: str, body: bytes) -> int:
    """Take a registration in; returns the port of the server that the agent's SSH tunnel is to end at.

    Opens the scope of the token's team itself. Raises UnknownAgent for a token that is not known or may not be used
    from `address` and for a machine that was put out, FrameError naming a field.
    """
    found = legacy_token_of(token_digest(secret))
    if found is None:
        raise UnknownAgent
    with acting(door="agent", name="PiCon"), team_scope(found[0]):
        token = LegacyToken.objects.filter(pk=found[1]).first()
        if token is None or not address_allowed(address, token.networks):
            raise UnknownAgent
        told = Registration.parse(body)
        now = timezone.now()
        stale = Q(last_used=None) | Q(last_used__lt=now - timedelta(minutes=1))
        LegacyToken.objects.filter(stale, pk=token.pk).update(last_used=now)
        agent = _agent(told)
        if agent.state == Agent.State.REVOKED:
            raise UnknownAgent
        machine_told(
            agent=agent,
            interfaces=told.interfaces,
            ports=told.ports,
            holdtime_s=max(told.holdtime_s, agent.interval_s),
            reported=now,
        )
        return tunnel_port(agent_id=agent.pk)


def _agent(told: Registration) -> Agent:
    """The machine of this serial number and host name within the team; never one that has a key."""
    same = {"public_key": "", "serial": told.serial, "hostname": told.hostname}
    before: Agent | None = Agent.objects.filter(**same).first()
    if before is not None:
        return before
    if Agent.objects.filter(public_key="").count() >= MAX_AGENTS:
        raise ValidationError({"hostname": f"This team has {MAX_AGENTS} legacy agents: remove some."})
    try:
        with transaction.atomic():
            made: Agent = Agent.objects.create(**same, name=free_name(told.hostname), state=Agent.State.LEGACY)
            return made
    except IntegrityError:  # the same machine came at this moment
        return Agent.objects.get(**same)
