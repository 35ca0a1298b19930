"""Every write on console ports."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from agents.models import Agent
from agents.nudges import group
from consoles.check_services import checks_begin_again, first_check
from consoles.models import ConsolePort, ConsoleTicket, ConsoleVisit
from core.live import publish, send_to
from core.scope import current_team_id
from tenancy.models import Seat, User
from tenancy.roles import can

TICKET_S = 30
TESTED = ("device_id", "baud", "parity", "flow", "testing")
"""Whatever a test of the port depends on."""


def ports_told(agent: Agent, names: Sequence[str]) -> None:
    """An agent said which ports it has: each has a console from now on, and keeps it when it is unplugged."""
    if not names:
        return
    known = set(ConsolePort.objects.filter(agent=agent).values_list("name", flat=True))
    new = [name for name in names if name not in known]
    ConsolePort.objects.bulk_create(ConsolePort(agent=agent, name=name, test_due=first_check()) for name in new)
    if new:
        changed(agent.pk)


def port_update(*, port: ConsolePort, **values: Any) -> ConsolePort:
    """Change what people decide. Raises ValidationError naming the field."""
    assert set(values) <= {"title", "device", "baud", "parity", "flow", "notes", "testing"}
    before = [getattr(port, name) for name in TESTED]
    for name, value in values.items():
        setattr(port, name, value)
    port.full_clean(exclude=["agent", "team"])
    port.save(update_fields=[*values])
    if [getattr(port, name) for name in TESTED] != before:
        checks_begin_again(port=port)
    changed(port.agent_id)
    return port


def port_set(*, port_id: int, **values: Any) -> None:
    """As port_update; nothing where the port is gone."""
    if port := ConsolePort.objects.filter(pk=port_id).first():
        port_update(port=port, **values)


def port_state(*, port_id: int, trouble: str) -> None:
    """What the agent says of the port."""
    changed = ConsolePort.objects.filter(pk=port_id).exclude(tried=True, trouble=trouble)
    if changed.update(tried=True, trouble=trouble):
        publish(current_team_id(), "consoles")


def ticket_issue(*, port: ConsolePort, user: User, writes: bool) -> str:
    """The secret by which this user's browser gets to the port within TICKET_S."""
    return _issue(port=port, user=user, writes=writes)


def program_ticket_issue(*, port: ConsolePort, seat: Seat) -> str:
    """The secret by which a program of this seat gets to the port within TICKET_S."""
    writes = can(seat.role, "console.write")
    return _issue(port=port, user_id=seat.user_id, token_id=seat.token_id, program=True, writes=writes)


def _issue(**values: Any) -> str:
    now, secret = timezone.now(), secrets.token_urlsafe(32)
    ConsoleTicket.objects.filter(expires__lt=now).delete()
    ConsoleTicket.objects.create(digest=_digest(secret), expires=now + timedelta(seconds=TICKET_S), **values)
    return secret


class Spent(NamedTuple):
    """What a ticket was for."""

    writes: bool
    name: str


def ticket_spend(*, port_id: int, user_id: int, secret: str) -> Spent | None:
    """None where it lets nowhere. In one statement: of two that come with it, one gets in."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'DELETE FROM "{ConsoleTicket._meta.db_table}" t USING "{User._meta.db_table}" u WHERE t.team_id = %s'
            " AND t.digest = %s AND t.port_id = %s AND t.user_id = %s AND t.expires > clock_timestamp()"
            " AND u.id = t.user_id AND NOT t.program RETURNING t.writes, u.username",
            [current_team_id(), _digest(secret), port_id, user_id],
        )
        row = cursor.fetchone()
    return Spent(*row) if row else None


def program_ticket_spend(*, port_id: int, secret: str) -> tuple[int | None, int | None] | None:
    """As ticket_spend: (id of the user, id of the token) whose program it lets in."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'DELETE FROM "{ConsoleTicket._meta.db_table}" WHERE team_id = %s AND digest = %s AND port_id = %s'
            " AND program AND expires > clock_timestamp() RETURNING user_id, token_id",
            [current_team_id(), _digest(secret), port_id],
        )
        row: tuple[int | None, int | None] | None = cursor.fetchone()
    return row


def visit_note(
    *,
    visit: int | None,
    port_id: int,
    user_id: int | None,
    who: str,
    via: str,
    times: Mapping[str, datetime | None],
    ended: bool = False,
) -> int:
    """That somebody is, or was, at the port; returns the visit. `times`: began, typed_first, typed_last."""
    now = timezone.now()
    values = dict(times) | {"seen": now, "ended": now if ended else None}
    if visit is None:
        return ConsoleVisit.objects.create(port_id=port_id, user_id=user_id, who=who, via=via, **values).pk
    ConsoleVisit.objects.filter(pk=visit).update(**values)
    return visit


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def changed(agent_id: int) -> None:
    """The gateway tells the agent, open pages look again."""
    send_to(group(agent_id), {"type": "consoles"})
    publish(current_team_id(), "consoles")
