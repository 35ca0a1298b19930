"""What the pages of incidents read. Every function works on the team in scope."""

from typing import Any

from django.db.models import Count, Q, QuerySet

from core.listing import as_rows
from ticketing.models import Incident, IncidentEvent, Ticket, TicketOperation

INCIDENT_FIELDS = ("id", "title", "state", "severity", "kind", "element", "episode", "opened", "resolved", "ticketed")


def incident_rows() -> QuerySet[Any]:
    """Incidents with how many tickets they have."""
    return Incident.objects.annotate(ticketed=Count("tickets"))


def open_incidents(limit: int = 8) -> list[dict[str, Any]]:
    """The newest open incidents first."""
    return as_rows(
        incident_rows().filter(state=Incident.State.OPEN).order_by("-opened", "-id").values(*INCIDENT_FIELDS)[:limit]
    )


def incident_counts() -> dict[str, int]:
    counts: dict[str, int] = Incident.objects.aggregate(
        all=Count("id"),
        open=Count("id", filter=Q(state=Incident.State.OPEN)),
        resolved=Count("id", filter=Q(state=Incident.State.RESOLVED)),
    )
    return counts


def source_label(incident: Incident, source: str) -> str:
    """`probing:1` in words: as its evidence says in `by`, where it does."""
    held = incident.evidence.get(source)
    by = held.get("by") if isinstance(held, dict) else None
    return str(by or {"topology": "routing"}.get(source, source))


def timeline_of(incident: Incident, limit: int = 200) -> list[dict[str, Any]]:
    """The newest events first."""
    rows = IncidentEvent.objects.filter(incident=incident).order_by("-at", "-id")
    events = as_rows(rows.values("at", "actor", "text")[:limit])
    for event in events:
        event["actor"] = source_label(incident, event["actor"])
    return events


def evidence_of(incident: Incident) -> list[dict[str, Any]]:
    """Each source's evidence: whether it still holds, reason, direction, paths ({text, state}), lines and the rest."""
    shown = []
    for source, held in incident.evidence.items():
        known = held if isinstance(held, dict) else {}
        cause = incident.causes.get(source)
        paths, lines = known.get("paths"), known.get("lines")
        shown.append(
            {
                "source": source_label(incident, source),
                "holds": cause is not None,
                "reason": cause.get("reason", "") if cause else "",
                "direction": known.get("direction", ""),
                "paths": [path for path in paths if isinstance(path, dict)] if isinstance(paths, list) else [],
                "lines": [str(line) for line in lines] if isinstance(lines, list) else [],
                "rest": {
                    name.replace("_", " "): value
                    for name, value in known.items()
                    if name not in ("paths", "direction", "by") and isinstance(value, str | int | float)
                },
            }
        )
    return shown


def tickets_of(incident: Incident) -> list[dict[str, Any]]:
    """Tickets of an incident with their operations in order: two queries."""
    tickets = as_rows(
        Ticket.objects.filter(incident=incident)
        .order_by("id")
        .values("id", "remote_id", "state", "created", "desk__name", "desk__driver")
    )
    operations = as_rows(
        TicketOperation.objects.filter(ticket__in=[ticket["id"] for ticket in tickets])
        .order_by("id")
        .values("id", "ticket_id", "verb", "state", "attempts", "error", "created", "done")
    )
    for ticket in tickets:
        ticket["operations"] = [each for each in operations if each["ticket_id"] == ticket["id"]]
    return tickets
