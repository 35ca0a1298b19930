"""Consoles behind other console servers, which an agent dials: made, changed and removed by people."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError

from agents.models import Agent
from consoles.models import ConsoleFar, ConsolePort
from consoles.services import changed
from pi_agent.lines import Far

_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def far_of(*, port_id: int) -> ConsoleFar | None:
    return ConsoleFar.objects.filter(port_id=port_id).defer("secret").first()


def far_set(
    *, agent: Agent, port: ConsolePort | None, proto: str, host: str, number: int, user: str, secret: str, command: str,
    host_key: str,
) -> ConsolePort:  # fmt: skip
    """A new console (`port` None) or another way to one. `secret`: empty leaves it. Raises ValidationError."""
    if proto != "ssh" and (user or secret or command or host_key):
        raise ValidationError({"proto": "User name, password, command and key are for ssh only."})
    if proto == "ssh" and not user:
        raise ValidationError({"user": "SSH needs a user name."})
    if host_key and not _KEY.fullmatch(host_key):
        raise ValidationError({"host_key": "Write the fingerprint as SHA256:… with 43 characters behind it."})
    if not re.fullmatch(r"[0-9A-Za-z_.:-]{1,253}", host):
        raise ValidationError({"host": "Enter a host name or an address."})
    who = f"{user}@" if user else ""
    name = f"{proto}://{who}{Far(proto, host, number).address}{f' {command}' if command else ''}"[:255]
    if ConsolePort.objects.filter(agent=agent, name=name).exclude(pk=port.pk if port else 0).exists():
        raise ValidationError({"host": f"{agent} has a console there already: {name}."})
    if port is None:
        port = ConsolePort(agent=agent, name=name)
    port.name, port.tried, port.trouble = name, False, ""
    port.save()
    far = ConsoleFar.objects.filter(port=port).first() or ConsoleFar(port=port)
    far.proto, far.host, far.number, far.user, far.command, far.host_key = proto, host, number, user, command, host_key
    if secret:
        far.secret = secret
    far.full_clean(exclude=["team", "port"])
    far.save()
    changed(agent.pk)
    return port


def far_delete(*, port: ConsolePort) -> None:
    """The console and what is known of it; raises ValidationError where it is a serial port of its agent."""
    if not ConsoleFar.objects.filter(port=port).exists():
        raise ValidationError("A serial port stays as long as its agent: it would be back at once.")
    agent_id = port.agent_id
    port.delete()
    changed(agent_id)
