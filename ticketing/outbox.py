"""The drain "tickets": tells the desks, operation by operation, what became of an incident.

Operations of one ticket go out in order; a later one waits for the one before it. What the desk refuses is `dead`,
with its sentence, until somebody retries it; what may work later is retried with exponential back-off and jitter
for as long as a mail server would (RFC 5321, 4.5.4.1). A desk that is in trouble gets one conversation at a time,
so it never holds more than one worker.
"""

import logging
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone

from core.drain import LeasedDrain
from core.live import publish
from core.scope import current_team_id
from ticketing import bounds
from ticketing.desks import drivers
from ticketing.desks.base import DeskRefused, DeskUnavailable, Letter, Receipt
from ticketing.models import Ticket, TicketOperation
from ticketing.selectors import evidence_of

log = logging.getLogger("netops.tickets")
State = TicketOperation.State
FIRST_DELAY = timedelta(seconds=5)
LAST_DELAY = timedelta(minutes=15)
# A desk that is away asks little of us: one connection a minute, so it is soon noticed when it is back.
LAST_DELAY_DOWN = timedelta(minutes=1)
GIVE_UP = timedelta(days=5)


@dataclass(frozen=True)
class Job:
    """An operation that was claimed, with all that `perform` needs: it works outside any transaction."""

    operation: TicketOperation
    ticket: Ticket
    first_title: str
    orphaned: str


@dataclass(frozen=True)
class Outcome:
    state: TicketOperation.State
    sentence: str = ""
    remote_id: str = ""
    down: bool = False
    after: timedelta | None = None
    progress: dict[str, Any] = field(default_factory=dict)


def due(ticket_id: int, now: datetime) -> Job | None:
    """The oldest pending operation, where its time has come; counts the attempt, which may die with its worker."""
    operations = TicketOperation.objects.filter(ticket=ticket_id)
    operation = operations.filter(state=State.PENDING).order_by("id").first()
    if operation is None or operation.not_before > now:
        return None
    ticket = Ticket.objects.select_related("incident", "desk", "team").get(pk=ticket_id)
    if _desk_is_tried_by_another(ticket, now):
        return None
    create = operations.filter(verb="create").order_by("id").first()
    orphaned = create.error if create and create.state == State.DEAD else ""
    operation.attempts += 1
    operation.save(update_fields=["attempts"])
    return Job(operation, ticket, create.payload["title"] if create else ticket.incident.title, orphaned)


def _desk_is_tried_by_another(ticket: Ticket, now: datetime) -> bool:
    others = Ticket.objects.filter(desk=ticket.desk_id, lease_until__gt=now).exclude(pk=ticket.pk)
    failing = TicketOperation.objects.filter(ticket__desk=ticket.desk_id, state=State.PENDING).exclude(error="")
    return others.exists() and failing.exists()


def perform(ticket: Ticket, job: Job) -> Outcome:
    """Tell the desk. Whatever happens becomes an outcome: a bug in a driver must not make an operation a poison."""
    try:
        receipt = _tell(job)
    except DeskRefused as error:
        return Outcome(State.DEAD, str(error))
    except DeskUnavailable as error:
        return Outcome(State.PENDING, str(error), down=error.down, after=error.after, progress=error.progress)
    except Exception as error:
        log.exception("ticket %s: telling desk %s failed", ticket.pk, job.ticket.desk_id)
        return Outcome(State.PENDING, f"netops itself failed here ({type(error).__name__}); see the worker's log.")
    return Outcome(State.DONE, receipt.remark, receipt.remote_id)


def _tell(job: Job) -> Receipt:
    desk, verb = job.ticket.desk, job.operation.verb
    if not desk.enabled:
        raise DeskRefused("The desk is switched off.")
    if job.orphaned and verb != "create":
        raise DeskRefused(f"The desk never got this ticket: {job.orphaned}")
    if desk.driver not in drivers():
        raise DeskRefused(f"The driver {desk.driver!r} is not installed.")
    kind = drivers()[desk.driver]
    driver = kind({**dict.fromkeys(kind.secrets, ""), **desk.settings, **(desk.secrets or {})})
    if verb not in driver.verbs:
        return Receipt(job.ticket.remote_id)
    letter = render(job)
    if verb == "create" and job.operation.attempts > 1 and "find" in driver.verbs and (found := driver.find(letter)):
        return found
    tell = {"create": driver.create, "note": driver.note, "resolve": driver.resolve}[verb]
    return tell(letter)


def render(job: Job) -> Letter:
    """The operation as text. The subject is that of the ticket's start for as long as it lives."""
    ticket, incident, team = job.ticket, job.ticket.incident, job.ticket.team
    payload = job.operation.payload
    context = {
        "verb": job.operation.verb,
        "title": payload.get("title") or incident.title,
        "reason": payload.get("reason", ""),
        "incident": incident,
        "team": team,
        "evidence": evidence_of(incident),
        "url": f"{settings.PUBLIC_URL}/t/{team.slug}/incidents/{incident.pk}/",
    }
    return Letter(
        key=f"{team.slug}/{incident.pk}/{incident.episode}",
        # The time tells installations apart that mail to one desk, or one that was set up anew.
        thread=f"{team.slug}.{incident.pk}.{incident.episode}.{ticket.pk}.{int(incident.opened.timestamp())}",
        operation=job.operation.pk,
        remote_id=ticket.remote_id,
        subject=bounds.line(f"[{team.slug}] {job.first_title}", 240),
        text=render_to_string("ticketing/mail/body.txt", context),
        html=render_to_string("ticketing/mail/body.html", context),
        progress=payload.get("progress", {}),
    )


def record(ticket: Ticket, job: Job, outcome: Outcome) -> None:
    """Write down what became of an operation, under the fence of its claim."""
    now, operation = timezone.now(), job.operation
    state, sentence = outcome.state, bounds.line(outcome.sentence, 500)
    if state == State.PENDING and now - operation.created > GIVE_UP:
        state, sentence = State.DEAD, bounds.line(f"Given up after {GIVE_UP.days} days: {sentence}", 500)
    operation.state, operation.error = state, sentence
    operation.done = now if state == State.DONE else None
    if outcome.progress:
        operation.payload["progress"] = outcome.progress
    if state == State.PENDING:
        operation.not_before = now + (outcome.after or _delay(operation.attempts, outcome.down))
        if outcome.down:
            waiting = TicketOperation.objects.filter(ticket__desk=job.ticket.desk_id, state=State.PENDING)
            waiting.filter(not_before__lt=operation.not_before).update(not_before=operation.not_before)
    operation.save()
    _record_ticket(job, state, outcome.remote_id)
    if sentence:
        log.warning("ticket %s, %s: %s", ticket.pk, operation.verb, sentence)
    publish(current_team_id(), "incidents")


def _record_ticket(job: Job, state: TicketOperation.State, remote_id: str) -> None:
    verb = job.operation.verb
    changes = {"remote_id": remote_id} if remote_id else {}
    if state == State.DONE and verb in ("create", "resolve"):
        changes["state"] = "open" if verb == "create" else "resolved"
    elif state == State.DEAD and verb == "create":
        changes["state"] = "dead"
    if changes:
        Ticket.objects.filter(pk=job.ticket.pk).update(**changes)


def _delay(attempts: int, down: bool) -> timedelta:
    """Exponential from FIRST_DELAY; a random half of it is left out, so that tickets do not come in step."""
    most = LAST_DELAY_DOWN if down else LAST_DELAY
    return min(most, FIRST_DELAY * (1 << min(attempts - 1, 16))) * random.uniform(0.5, 1)  # noqa: S311


drain = LeasedDrain("tickets", Ticket, due, perform, record)
