"""Incidents, the tickets that tell a desk of them, and the outbox of what still has to be told."""

from typing import Any

from django.db import models
from django.db.models import Q

from core.drain import LeasedKey
from core.secrets import SecretField
from tenancy.audit import tracked
from tenancy.models import TeamManager, TeamModel


class IncidentQuerySet(models.QuerySet[Any]):
    def open(self) -> "IncidentQuerySet":
        return self.filter(state=Incident.State.OPEN)


@tracked(fields=["kind", "element", "episode", "title", "state", "severity"])
class Incident(TeamModel):
    """One root cause. `element` is `<kind>:<id>` in the room that owns the kind; at most one is open per element."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVED = "resolved", "Resolved"

    class Severity(models.TextChoices):
        CRITICAL = "critical", "Critical"
        WARNING = "warning", "Warning"

    kind = models.CharField(max_length=20)
    element = models.CharField(max_length=80)
    episode = models.PositiveIntegerField(default=1)
    title = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.CRITICAL)
    # {"<source>": {...}}: what each source still holds against the element; the incident resolves when it is empty.
    causes = models.JSONField(default=dict)
    # The last evidence of each source, kept after it cleared.
    evidence = models.JSONField(default=dict)
    opened = models.DateTimeField()
    resolved = models.DateTimeField(null=True)

    objects = TeamManager.from_queryset(IncidentQuerySet)()  # type: ignore[misc]

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "kind", "element", "episode"], name="incident_episode"),
            models.UniqueConstraint(
                fields=["team", "kind", "element"], condition=Q(state="open"), name="incident_one_open"
            ),
        ]
        indexes = [models.Index(fields=["team", "-opened"], name="incident_recent")]

    def __str__(self) -> str:
        return self.title


class IncidentEvent(TeamModel):
    """One line of an incident's timeline: who or what did what, and why."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events", db_constraint=False)
    at = models.DateTimeField()
    actor = models.CharField(max_length=80)
    text = models.CharField(max_length=500)

    class Meta(TeamModel.Meta):
        indexes = [models.Index(fields=["team", "incident", "at"], name="incidentevent_time")]


@tracked(exclude=["secrets"])
class Desk(TeamModel):
    """Where tickets of a team go. `driver` names a folder under ticketing/desks and says which settings are secret:
    these are in `secrets`, the others in `settings`."""

    name = models.CharField(max_length=60)
    driver = models.CharField(max_length=20)
    settings = models.JSONField(default=dict)
    secrets = SecretField(blank=True, default="")
    enabled = models.BooleanField(default=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="desk_name")]

    def __str__(self) -> str:
        return self.name


@tracked(fields=["incident", "desk", "remote_id", "state"])
class Ticket(LeasedKey, TeamModel):
    """One incident at one desk. Its operations go out in order, one at a time, under its lease."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="tickets", db_constraint=False)
    desk = models.ForeignKey(Desk, on_delete=models.CASCADE, related_name="tickets", db_constraint=False)
    remote_id = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, default="new")
    created = models.DateTimeField(auto_now_add=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "incident", "desk"], name="ticket_once")]

    def __str__(self) -> str:
        return self.remote_id or f"{self.pk}"


class TicketOperation(TeamModel):
    """One thing a desk has still to be told, or was told (`done`), or refuses (`dead`)."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        DONE = "done", "Done"
        DEAD = "dead", "Dead"

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="operations", db_constraint=False)
    verb = models.CharField(max_length=10)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField()
    error = models.CharField(max_length=500, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    done = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        indexes = [
            models.Index(fields=["team", "ticket", "id"], condition=Q(state="pending"), name="ticketoperation_due")
        ]
