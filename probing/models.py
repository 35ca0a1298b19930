"""Campaigns, the paths they probe, what came back, and what it says."""

from datetime import datetime
from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from agents.models import Agent
from inventory.models import Endpoint
from tenancy.audit import tracked
from tenancy.models import TeamManager, TeamModel


@tracked(exclude=["planned_version", "planned", "notes", "verdict"])
class Campaign(TeamModel):
    """Which paths are probed, from where, how often, and what counts as bad."""

    class Policy(models.TextChoices):
        ALL_SHORTEST = "all_shortest", "All shortest paths"
        K_SHORTEST = "k_shortest", "The k shortest paths"
        WITHIN_HOPS = "within_hops", "All paths within n extra hops"
        ALL = "all", "All simple paths (small networks)"

    class Style(models.TextChoices):
        LOOP = "loop", "Closed walk, pinned out and back"
        ONE_WAY = "one_way", "Pinned out, back by routing"

    name = models.CharField(max_length=60)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="campaigns", db_constraint=False)
    policy = models.CharField(max_length=20, choices=Policy.choices, default=Policy.ALL_SHORTEST)
    policy_value = models.PositiveIntegerField(default=2, help_text="k, or n extra hops")
    style = models.CharField(max_length=10, choices=Style.choices, default=Style.LOOP)
    rate = models.FloatField(
        default=10,
        validators=[MinValueValidator(0.1), MaxValueValidator(1000)],
        help_text="probes a second and path",
    )
    loss_percent = models.FloatField(default=5, validators=[MinValueValidator(0.1), MaxValueValidator(100)])
    latency_ms = models.FloatField(default=250, validators=[MinValueValidator(0.1)])
    enabled = models.BooleanField(default=True)
    # Set by planning: the graph it was made from, and what could not be done, in sentences.
    planned_version = models.PositiveBigIntegerField(null=True)
    planned = models.DateTimeField(null=True)
    notes = models.JSONField(default=list)
    # What localisation made of the last reports, and which incidents this campaign holds open (probing/evaluation.py).
    verdict = models.JSONField(default=dict)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="campaign_name")]

    def __str__(self) -> str:
        return self.name


@tracked()
class CampaignTarget(TeamModel):
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="targets", db_constraint=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+", db_constraint=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint("team", "campaign", "endpoint", name="campaigntarget_once")]


class AgentPlan(TeamModel):
    """What an agent is asked to probe: all its campaigns' paths in one versioned plan (pi_agent/prober/plan.py)."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="plans", db_constraint=False)
    version = models.PositiveBigIntegerField(default=0)
    plan = models.JSONField(default=dict)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "agent"], name="agentplan_once")]


class PathQuerySet(models.QuerySet[Any]):
    def active(self) -> "PathQuerySet":
        return self.filter(active=True)


class Path(TeamModel):
    """One probed walk: out over `out`, back over `back` (ids of half-links, in order).

    Role `path` is a path between the end points; role `cover` is a loop added so that every link can be told apart.
    """

    class State(models.TextChoices):
        UNKNOWN = "unknown", "No data"
        UP = "up", "Up"
        DEGRADED = "degraded", "Degraded"
        DOWN = "down", "Down"

    class Role(models.TextChoices):
        PATH = "path", "Path"
        COVER = "cover", "Cover loop"

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="paths", db_constraint=False)
    target = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.PATH)
    # The same hops give the same key, so that a re-planned path keeps its row, state and history.
    key = models.CharField(max_length=400)
    out = models.JSONField(default=list)
    back = models.JSONField(default=list)
    # Device names along the way, for people.
    out_names = models.JSONField(default=list)
    back_names = models.JSONField(default=list)
    active = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    changed = models.DateTimeField(null=True)
    heard = models.DateTimeField(null=True)
    rtt_us = models.PositiveIntegerField(null=True)
    loss_percent = models.FloatField(null=True)
    # probing.detection's state, as JSON.
    detector = models.JSONField(default=dict)

    objects = TeamManager.from_queryset(PathQuerySet)()  # type: ignore[misc]

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "campaign", "key"], name="path_key")]
        indexes = [
            models.Index(
                fields=["team", "campaign", "id"],
                condition=Q(active=True),
                name="path_active",
            )
        ]

    def __str__(self) -> str:
        return " ".join(self.out_names)


class ReportBatch(TeamModel):
    """Inbox: one report of an agent's prober (pi_agent/prober/report.py), as it came."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    boot = models.CharField(max_length=36)
    offset = models.PositiveBigIntegerField()
    payload = models.BinaryField()
    received = models.DateTimeField(auto_now_add=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint("team", "agent", "boot", "offset", name="reportbatch_once")]


class PathMinute(TeamModel):
    """Everything one path's probes said in one minute. Partitioned by day (migration 0001, netops/definers.sql)."""

    pk = models.CompositePrimaryKey("team_id", "path_id", "minute")
    path = models.ForeignKey(
        Path,
        on_delete=models.CASCADE,
        related_name="minutes",
        db_constraint=False,
        db_index=False,
    )
    minute = models.DateTimeField()
    sent = models.PositiveIntegerField()
    received = models.PositiveIntegerField()
    late = models.PositiveIntegerField()
    duplicate = models.PositiveIntegerField()
    reordered = models.PositiveIntegerField()
    # Little-endian half-precision floats, milliseconds, in the order the probes were sent.
    rtts = models.BinaryField()

    class Meta(TeamModel.Meta):
        pass

    RTT_FORMAT: ClassVar[str] = "<{}e"


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
