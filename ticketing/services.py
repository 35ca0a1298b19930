"""Every write on incidents, desks and tickets. All run inside the team's scope."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from core.drain import nudge
from core.live import publish
from core.scope import current_team_id
from ticketing import bounds
from ticketing.desks import driver as desk_driver
from ticketing.models import Desk, Incident, IncidentEvent, Ticket, TicketOperation

_MAX_SOURCES = 32
_NAME = 61  # one more than a name may have, so that the model says so
_RANK = {Incident.Severity.CRITICAL.value: 0, Incident.Severity.WARNING.value: 1}


def incident_report(
    *,
    kind: str,
    element: str,
    source: str,
    title: str,
    evidence: dict[str, Any],
    severity: str = "critical",
    reason: str,
) -> Incident:
    """Open the one incident of (kind, element), or add or update what `source` holds against the open one.

    Repeating a report changes nothing. An element that was resolved gets a new incident, the next episode. Evidence
    may hold "paths" (a list of {"text", "state"}), "direction" (a text) and "lines" (a list of texts), which mails and
    pages show; evidence that changed is stored and nudges open pages, without a line in the timeline. Two workers may
    report at once; one that reports several elements in a transaction takes them in a fixed order.
    """
    claim = {
        "title": bounds.line(title, 200) or f"{kind} {element}",
        "reason": bounds.line(reason, 300),
        "severity": Incident.Severity(severity).value,
    }
    held = bounds.evidence(evidence)
    for last in (False, False, True):
        if incident := _open_incident(kind, element):
            return _cause_set(incident, source, claim, held)
        try:
            with transaction.atomic():
                return _incident_open(kind, element, source, claim, held)
        except IntegrityError:
            # Another worker opened it between our look and our insert, and has committed: look again.
            if last:
                raise
    raise AssertionError("unreachable")


def incident_clear(*, kind: str, element: str, source: str, reason: str) -> Incident | None:
    """Take back what `source` holds against the element; the last one resolves the incident.

    Returns the incident, or None where `source` held nothing.
    """
    incident = _open_incident(kind, element)
    if incident is None or source not in incident.causes:
        return None
    del incident.causes[source]
    if incident.causes:
        _event(incident, source, f"No longer: {bounds.line(reason, 300)}")
        _retitle(incident, reason)
    else:
        incident.state, incident.resolved = Incident.State.RESOLVED, timezone.now()
        _event(incident, source, f"Resolved: {bounds.line(reason, 300)}", incident.resolved)
        for ticket in incident.tickets.all():
            _enqueue(ticket, "resolve", {"reason": bounds.line(reason, 300)})
    incident.save()
    publish(current_team_id(), "incidents")
    return incident


def desk_create(*, name: str, driver: str, settings: Mapping[str, Any], enabled: bool = True) -> Desk:
    """A desk with settings checked by its driver; raises ValidationError that names the field."""
    desk = Desk(name=bounds.line(name, _NAME), driver=driver, enabled=enabled)
    _settings_set(desk, settings)
    desk.full_clean()
    desk.save()
    return desk


def desk_update(
    *, desk: Desk, name: str | None = None, settings: Mapping[str, Any] | None = None, enabled: bool | None = None
) -> Desk:
    """Change what is given. Secrets that the new settings leave out or leave empty are kept."""
    if settings is not None:
        kept = {key: value for key, value in (desk.secrets or {}).items() if not settings.get(key)}
        _settings_set(desk, {**settings, **kept})
    desk.name = desk.name if name is None else bounds.line(name, _NAME)
    desk.enabled = desk.enabled if enabled is None else enabled
    desk.full_clean()
    desk.save()
    return desk


def desk_delete(*, desk: Desk) -> None:
    """Forget a desk that never had a ticket; raises ProtectedError otherwise, since its tickets would go with it."""
    if tickets := list(Ticket.objects.filter(desk=desk)[:5]):
        raise ProtectedError("The desk has tickets: switch it off instead.", set(tickets))
    desk.delete()


def _settings_set(desk: Desk, given: Mapping[str, Any]) -> None:
    driver = desk_driver(desk.driver)
    cleaned = driver.clean(given)
    desk.secrets = {key: cleaned.pop(key) for key in driver.secrets & cleaned.keys() if cleaned[key]}
    for key in driver.secrets:
        cleaned.pop(key, None)
    desk.settings = cleaned


def ticket_retry(*, ticket: Ticket) -> int:
    """Put what the desk refused back into the queue, in its old order; returns how many operations."""
    now = timezone.now()
    dead = TicketOperation.objects.filter(ticket=ticket, state=TicketOperation.State.DEAD)
    count = dead.update(state=TicketOperation.State.PENDING, not_before=now, created=now, error="")
    if count:
        Ticket.objects.filter(pk=ticket.pk, state="dead").update(state="new")
        nudge("tickets", current_team_id(), ticket.pk)
        publish(current_team_id(), "incidents")
    return count


def _open_incident(kind: str, element: str) -> Incident | None:
    open_ones = Incident.objects.open().filter(kind=kind, element=element)
    found: Incident | None = open_ones.select_for_update(no_key=True).first()
    return found


def _incident_open(kind: str, element: str, source: str, claim: dict[str, str], held: dict[str, Any]) -> Incident:
    now = timezone.now()
    earlier = Incident.objects.filter(kind=kind, element=element).order_by("-episode").first()
    incident = Incident.objects.create(
        kind=kind,
        element=element,
        episode=earlier.episode + 1 if earlier else 1,
        title=claim["title"],
        severity=claim["severity"],
        causes={source: {**claim, "since": now.isoformat()}},
        evidence={source: held},
        opened=now,
    )
    again = f" (episode {incident.episode})" if earlier else ""
    _event(incident, source, f"Opened{again}: {claim['reason']}", now)
    for desk in Desk.objects.filter(enabled=True).order_by("id"):
        _enqueue(Ticket.objects.create(incident=incident, desk=desk), "create", {"title": incident.title})
    publish(current_team_id(), "incidents")
    return incident


def _cause_set(incident: Incident, source: str, claim: dict[str, str], held: dict[str, Any]) -> Incident:
    before = incident.causes.get(source)
    told_before = {key: before.get(key) for key in claim} if before else None
    if told_before == claim and incident.evidence.get(source) == held:
        return incident
    since = before["since"] if before else timezone.now().isoformat()
    incident.causes[source] = {**claim, "since": since}
    incident.evidence[source] = held
    if len(incident.evidence) > _MAX_SOURCES:
        incident.evidence = {name: kept for name, kept in incident.evidence.items() if name in incident.causes}
    if told_before != claim:
        _event(incident, source, f"{'Now' if before else 'Also'}: {claim['reason'] or claim['title']}")
        _retitle(incident, claim["reason"])
    incident.save()
    publish(current_team_id(), "incidents")
    return incident


def _retitle(incident: Incident, reason: str) -> None:
    """Title and severity come from the worst cause, the oldest of these, so that sources do not take turns."""
    leader = min(incident.causes.items(), key=lambda item: (_RANK[item[1]["severity"]], item[1]["since"], item[0]))[1]
    incident.severity = leader["severity"]
    if leader["title"] == incident.title:
        return
    incident.title = leader["title"]
    _event(incident, "netops", f"Title: {incident.title}")
    for ticket in incident.tickets.all():
        _enqueue(ticket, "note", {"title": incident.title, "reason": bounds.line(reason, 300)})


def _enqueue(ticket: Ticket, verb: str, payload: dict[str, Any]) -> None:
    """A note that no worker has claimed yet is rewritten instead of followed by a second one."""
    waiting = TicketOperation.objects.filter(ticket=ticket, verb="note", state="pending", attempts=0)
    if verb != "note" or not waiting.update(payload=payload):
        TicketOperation.objects.create(ticket=ticket, verb=verb, payload=payload, not_before=timezone.now())
    nudge("tickets", current_team_id(), ticket.pk)


def _event(incident: Incident, actor: str, text: str, at: datetime | None = None) -> None:
    IncidentEvent.objects.create(
        incident=incident, at=at or timezone.now(), actor=bounds.line(actor, 80), text=bounds.line(text, 500)
    )
