"""Console ports, and the tickets by which a browser gets to one."""

from __future__ import annotations

from fnmatch import fnmatchcase

from django.core import validators
from django.db import models

from agents.models import Agent
from consoles import log_models  # noqa: F401  (Django looks for models here)
from core.secrets import SecretField
from inventory.models import Device
from pi_agent.lines import BAUDS, FLOWS, PARITIES, PROTOS
from tenancy.audit import tracked
from tenancy.models import ApiToken, TeamModel, User
from ticketing.models import Incident


@tracked(fields=["title", "device", "baud", "parity", "flow", "notes", "testing"])
class ConsolePort(TeamModel):
    """A serial port of an agent, under the stable `name` that the agent gives it. `trouble`: one sentence of the
    agent's, empty while the port is open; `tried` is whether it ever said how the port is.

    `tests`: how many have ended since it was set up. `asked`: what the gateway is to do with it at once, `test` or
    `detect`; the latter leaves {"baud": or None, "sentence"} in `detection`.
    """

    agent = models.ForeignKey(
        Agent, on_delete=models.CASCADE, related_name="consoles", db_constraint=False, db_index=False
    )
    name = models.CharField(max_length=255)
    title = models.CharField(max_length=60, blank=True)
    device = models.ForeignKey(
        Device, on_delete=models.SET_NULL, null=True, blank=True, related_name="consoles", db_constraint=False
    )
    baud = models.PositiveIntegerField(default=9600, choices=[(each, str(each)) for each in BAUDS])
    parity = models.CharField(max_length=10, default="none", choices=[(each, each) for each in PARITIES])
    flow = models.CharField(max_length=10, default="none", choices=[(each, each) for each in FLOWS])
    notes = models.TextField(max_length=2000, blank=True)
    tried = models.BooleanField(default=False, editable=False)
    trouble = models.CharField(max_length=255, blank=True, editable=False)
    # The offset up to which rules have looked at its log; empty until they first did.
    looked = models.BigIntegerField(null=True, editable=False)
    testing = models.BooleanField("Test it", default=True)
    tests = models.PositiveIntegerField(default=0, editable=False)
    asked = models.CharField(max_length=10, blank=True, editable=False)
    test_due = models.DateTimeField(null=True, editable=False)
    test_at = models.DateTimeField(null=True, editable=False)
    test_good = models.DateTimeField(null=True, editable=False)
    test_result = models.CharField(max_length=10, blank=True, editable=False)
    test_sentence = models.CharField(max_length=255, blank=True, editable=False)
    test_modem = models.CharField(max_length=40, blank=True, editable=False)
    detection = models.JSONField(null=True, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "agent", "name"], name="consoleport_name")]

    def __str__(self) -> str:
        return self.title or self.name.rpartition("/")[2]


@tracked(fields=["port", "proto", "host", "number", "user", "command", "host_key"])
class ConsoleFar(TeamModel):
    """Where a port that no serial adapter is for is dialled from its agent (pi_agent/dial.py)."""

    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="fars", db_constraint=False)
    proto = models.CharField(max_length=10, choices=[(each, each) for each in PROTOS])
    host = models.CharField(max_length=253)
    number = models.PositiveIntegerField()
    user = models.CharField(max_length=100, blank=True)
    secret = SecretField(blank=True)
    command = models.CharField(max_length=200, blank=True)
    host_key = models.CharField(max_length=100, blank=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "port"], name="consolefar_port")]

    def __str__(self) -> str:
        return f"{self.proto} to {self.host}:{self.number}"


@tracked(fields=["port", "method", "off", "on", "cycle", "done", "answer", "at"])
class ConsoleOutlet(TeamModel):
    """How the power of what is at a port is switched: an address to call for each action, empty where it has none.
    `headers` are {name: value}. `done`, `answer` and `at`: the last call, what came of it, when.
    """

    METHODS = ("GET", "POST", "PUT")

    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="outlets", db_constraint=False)
    method = models.CharField(max_length=4, default="POST", choices=[(each, each) for each in METHODS])
    off = models.CharField(max_length=500, blank=True)
    on = models.CharField(max_length=500, blank=True)
    cycle = models.CharField(max_length=500, blank=True)
    headers = SecretField(blank=True)
    done = models.CharField(max_length=5, blank=True, editable=False)
    answer = models.CharField(max_length=255, blank=True, editable=False)
    at = models.DateTimeField(null=True, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "port"], name="consoleoutlet_port")]

    def __str__(self) -> str:
        return f"power of {self.port}"


class ConsoleTicket(TeamModel):
    """Lets one browser of one user to one port, once, soon; or one program (without cookies) of whoever asked for it: a
    user, a token, or a user's token. Kept as a digest."""

    digest = models.CharField(max_length=64)
    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False)
    program = models.BooleanField(default=False)
    writes = models.BooleanField(default=False)
    expires = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "digest"], name="consoleticket_digest")]


@tracked(fields=["port", "who"])
class ConsoleLock(TeamModel):
    """Who has a port for themselves alone: `session` is a secret of theirs, empty while writers share. Held `until`
    then unless it is renewed. `fence` grows with each holder and never falls; the agent refuses keys under an older.
    """

    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    session = models.CharField(max_length=32, blank=True)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    who = models.CharField(max_length=150, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    until = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "port"], name="consolelock_port")]


class ConsoleVisit(TeamModel):
    """Somebody was at a port. `seen` is when last, to the minute; `ended` stays empty where a gateway died first."""

    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="visits", db_constraint=False)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    who = models.CharField(max_length=150)
    via = models.CharField(max_length=10)
    began = models.DateTimeField()
    seen = models.DateTimeField()
    ended = models.DateTimeField(null=True)
    typed_first = models.DateTimeField(null=True)
    typed_last = models.DateTimeField(null=True)
    here = False

    class Meta(TeamModel.Meta):
        indexes = [models.Index(fields=["team", "port", "-began"], name="consolevisit_port")]


@tracked(exclude=["pack"])
class ConsoleRule(TeamModel):
    """A pattern (RE2) on each line of output: a match opens the incident of this rule at that port, which resolves
    after `hold_s` seconds without another. `only` is a shell pattern on the port's device, title or name; empty: all
    ports. `pack` names the file it came from (consoles/packs/).
    """

    name = models.CharField(max_length=60)
    pattern = models.CharField(max_length=300)
    severity = models.CharField(max_length=10, choices=Incident.Severity.choices, default=Incident.Severity.WARNING)
    only = models.CharField(max_length=60, blank=True)
    hold_s = models.PositiveIntegerField(
        default=600, validators=[validators.MinValueValidator(10), validators.MaxValueValidator(7 * 86400)]
    )
    enabled = models.BooleanField(default=True)
    pack = models.CharField(max_length=20, blank=True, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="consolerule_name")]

    def __str__(self) -> str:
        return self.name

    def applies(self, port: ConsolePort) -> bool:
        names = (port.device.name if port.device else "", port.title, port.name, port.name.rpartition("/")[2])
        return not self.only or any(fnmatchcase(name.lower(), self.only.lower()) for name in names)


class ConsoleMatch(TeamModel):
    """What a rule found at a port. `offset` is that of the last line that matched: none is counted twice."""

    rule = models.ForeignKey(ConsoleRule, on_delete=models.CASCADE, related_name="matches", db_constraint=False)
    port = models.ForeignKey(ConsolePort, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    offset = models.BigIntegerField()
    count = models.PositiveBigIntegerField()
    first = models.DateTimeField()
    last = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "rule", "port"], name="consolematch_once")]
