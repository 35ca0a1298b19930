"""Agents in the field, known by their key; what lets them in, and when they were heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Case, DurationField, ExpressionWrapper, F, Q, Value, When
from django.utils import timezone

from pi_agent.enrolment import fingerprint
from tenancy.audit import tracked
from tenancy.base import TeamManager
from tenancy.models import TeamModel, User

SILENT_S = 30
"""After so long without a beat a link is gone, whatever became of its gateway. Gateways beat every 5 s."""
MISSED = 2
"""Intervals without a report by HTTP until an agent is late: one may get lost."""


class AgentQuerySet(models.QuerySet[Any]):
    def with_status(self, now: datetime | None = None) -> AgentQuerySet:
        """Each with `expires` (when it is dead unless it is heard again) and `status`, as `Agent.status` says it."""
        now = now or timezone.now()
        unseen = ExpressionWrapper(F("holdtime_s") * Value(timedelta(seconds=1)), output_field=DurationField())
        missed = ExpressionWrapper(F("interval_s") * Value(timedelta(seconds=MISSED)), output_field=DurationField())
        times: models.DateTimeField[Any, Any] = models.DateTimeField()
        rows: AgentQuerySet = self.annotate(
            expires=ExpressionWrapper(F("last_seen") + unseen, output_field=times),
            late_from=ExpressionWrapper(F("reported") + missed, output_field=times),
            status=Case(
                When(state__in=[Agent.State.WAITING, Agent.State.REVOKED], then=F("state")),
                When(last_seen=None, then=Value("new")),
                When(online=True, last_seen__gt=now - timedelta(seconds=SILENT_S), then=Value("online")),
                When(late_from__gt=now, then=Value("online")),
                When(expires__gt=now, then=Value("late")),
                default=Value("dead"),
                output_field=models.CharField(),
            ),
        )
        return rows


STATUSES = ("online", "late", "dead", "new", "waiting", "revoked")


@tracked(fields=["name", "public_key", "address", "state", "maintenance", "rekey", "holdtime_s"])
class Agent(TeamModel):
    """One pi_agent, or one of class legacy (PiCon), which has no key. `epoch` fences gateways: each accepted link
    raises it, writes of an older one are refused.

    `online`: its link is up. `gateway`: whose it is, the URL of the one that opened the last link. `serial` is a hint
    and never an identity. `interfaces` and `ports`: lists of the fields of pi_agent.registration.Interface and Port.
    `back`: when it was heard again after it had been dead.
    """

    class State(models.TextChoices):
        ENROLLED = "enrolled", "Enrolled"
        WAITING = "waiting", "Waiting for approval"
        REVOKED = "revoked", "Revoked"
        LEGACY = "legacy", "Legacy"

    name = models.CharField(max_length=60)
    public_key = models.CharField(max_length=64, help_text="ed25519, 32 bytes as hex")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ENROLLED)
    # The address its probes come from and return to.
    address = models.GenericIPAddressField(null=True)
    token = models.ForeignKey(
        "EnrolmentToken", on_delete=models.SET_NULL, null=True, editable=False, related_name="+", db_constraint=False
    )
    online = models.BooleanField(default=False)
    epoch = models.PositiveBigIntegerField(default=0)
    gateway = models.CharField(max_length=255, blank=True, editable=False)
    boot = models.CharField(max_length=36, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    serial = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    os = models.CharField(max_length=255, blank=True)
    software = models.CharField(max_length=40, blank=True)
    addresses = models.JSONField(default=dict)
    interfaces = models.JSONField(default=list)
    ports = models.JSONField(default=list)
    booted = models.DateTimeField(null=True)
    first_seen = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)
    reported = models.DateTimeField(null=True)
    registered = models.DateTimeField(null=True)
    back = models.DateTimeField(null=True)
    holdtime_s = models.PositiveIntegerField(default=300)
    interval_s = models.PositiveIntegerField(default=60)
    maintenance = models.BooleanField(default=False)
    # The machine that is connected (`boot`) is to take another key; no other is let in until it has.
    rekey = models.BooleanField(default=False)
    tunnel_port = models.PositiveIntegerField(null=True, editable=False)

    objects = TeamManager.from_queryset(AgentQuerySet)()  # type: ignore[misc]

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="agent_name"),
            models.UniqueConstraint(
                fields=["team", "serial", "hostname"], condition=Q(public_key=""), name="agent_legacy"
            ),
            # Over all teams: one key is one machine, and one port of the server leads to one.
            models.UniqueConstraint(fields=["public_key"], condition=~Q(public_key=""), name="agent_key_once"),
            models.UniqueConstraint(fields=["tunnel_port"], name="agent_tunnel_port"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def fingerprint(self) -> str:
        return fingerprint(bytes.fromhex(self.public_key)) if self.public_key else ""

    @property
    def status_now(self) -> str:
        """As `with_status` says it, of a row that was fetched without."""
        now = timezone.now()
        if self.state in (self.State.WAITING, self.State.REVOKED):
            return str(self.state)
        if self.last_seen is None:
            return "new"
        linked = self.online and self.last_seen > now - timedelta(seconds=SILENT_S)
        if linked or (self.reported and self.reported + timedelta(seconds=MISSED * self.interval_s) > now):
            return "online"
        return "late" if self.last_seen + timedelta(seconds=self.holdtime_s) > now else "dead"


class AgentStream(TeamModel):
    """How far a stream of an agent was received: the next offset expected, for the agent process `boot`."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="streams", db_constraint=False)
    stream = models.PositiveIntegerField()
    boot = models.CharField(max_length=36)
    offset = models.PositiveBigIntegerField(default=0)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "agent", "stream"], name="agentstream_once")]


class AgentBoot(TeamModel):
    """The highest counter of the signed reports of one boot. `born`: when they say it began; `alive`: when the last one
    was signed. Kept for as long as the key: without the row an old report were new."""

    agent = models.ForeignKey(
        Agent, on_delete=models.CASCADE, related_name="boots", db_constraint=False, db_index=False
    )
    boot = models.UUIDField()
    counter = models.PositiveBigIntegerField()
    born = models.DateTimeField(null=True)
    alive = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "agent", "boot"], name="agentboot_once")]


@tracked(exclude=["digest", "uses_left"])
class EnrolmentToken(TeamModel):
    """Lets machines in, each use one. The secret is kept only as an HMAC under the server's pepper."""

    name = models.CharField(max_length=60)
    digest = models.CharField(max_length=64, editable=False)
    uses_left = models.PositiveIntegerField(default=1)
    needs_approval = models.BooleanField(default=False)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "digest"], name="enrolmenttoken_digest")]

    def __str__(self) -> str:
        return self.name


@tracked(exclude=["digest", "last_used"])
class LegacyToken(TeamModel):
    """The part of a URL by which PiCon agents, which have no key, register with a team. `networks` as ApiToken's."""

    name = models.CharField(max_length=60)
    digest = models.CharField(max_length=64, editable=False)
    networks = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "digest"], name="legacytoken_digest")]

    def __str__(self) -> str:
        return self.name


def agent_of_key(public_key: str) -> tuple[int, int] | None:
    """(team id, agent id) of the enrolled agent with this key, in whichever team."""
    return _asked("SELECT team_id, agent_id FROM netops_agent_by_key(%s)", public_key)


def enrolment_token_of(digest: str) -> tuple[int, int] | None:
    """(team id, token id) of the token that has not expired."""
    return _asked("SELECT team_id, token_id FROM netops_enrolment_token(%s)", digest)


def legacy_token_of(digest: str) -> tuple[int, int] | None:
    """(team id, token id)."""
    return _asked("SELECT team_id, token_id FROM netops_legacy_token(%s)", digest)


def lock_names(team_id: int) -> None:
    """Who gives an agent of the team a name next waits until this transaction has ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"netops_agent_names {team_id}"])


def free_tunnel_port() -> int:
    """The lowest port that no agent of any team has; who asks next waits until this transaction has ended."""
    with connection.cursor() as cursor:
        # By a statement of its own: the next one then sees what the one before has taken.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('netops_tunnel_port'))")
        cursor.execute("SELECT netops_tunnel_port()")
        (port,) = cursor.fetchone()
    return int(port)


def _asked(sql: str, proof: str) -> tuple[int, int] | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, [proof])
        row = cursor.fetchone()
    return (row[0], row[1]) if row else None
