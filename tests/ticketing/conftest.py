"""A desk whose mail server is real and in the test's hands."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from core import drain
from core.scope import team_scope
from tenancy.models import Team
from tests.ticketing.smtp import Mailbox, serving
from ticketing.models import Desk, Incident, Ticket, TicketOperation
from ticketing.services import desk_create, incident_clear, incident_report

LINK = {"kind": "link", "element": "link:1"}
PATHS = {"paths": [{"text": "dev1 R1 R2 R4 dev2", "state": "down"}], "direction": "R2 → R4"}


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with serving(Mailbox()) as mailbox:
        yield mailbox


def mail_settings(port: int, **changes: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "sender": "netops@example.org", "to": ["noc@example.org"], **changes}


@pytest.fixture
def desk(scope: Team, mailbox: Mailbox) -> Desk:
    return desk_create(name="mail", driver="email", settings=mail_settings(mailbox.port))


def report(source: str = "probing:1", **given: Any) -> Incident:
    values = {"title": "Link R2 – R4 is down", "reason": "4 of 8 paths are down", "evidence": PATHS, **LINK, **given}
    return incident_report(source=source, **values)


def clear(source: str = "probing:1", **given: Any) -> Incident | None:
    return incident_clear(source=source, **{"reason": "probes pass again", **LINK, **given})


def deliver(team: Team, *, wait: bool = False) -> int:
    """What workers do with every ticket now; with `wait`, after every back-off has passed."""
    with team_scope(team.pk):
        if wait:
            TicketOperation.objects.filter(state="pending").update(not_before=timezone.now())
        tickets = list(Ticket.objects.order_by("id").values_list("id", flat=True))
    return sum(drain.get("tickets").run(team.pk, ticket) for ticket in tickets)


def operations() -> list[tuple[str, str]]:
    return list(TicketOperation.objects.order_by("id").values_list("verb", "state"))


def last_error() -> str:
    return str(TicketOperation.objects.exclude(error="").order_by("-id").values_list("error", flat=True)[0])
