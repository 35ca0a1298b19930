"""What is kept of consoles' logs in the database: lines for search, how far they are taken, and what the team wants."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, TextField, Value

from core.drain import LeasedKey
from tenancy.audit import tracked
from tenancy.models import TeamModel


def _letters() -> Func:
    """As core/search.py:haystack_index has it: trigrams stop at signs, names are full of them."""
    return Func(F("text"), Value(" -./:_"), Value("UVWXYZ"), function="TRANSLATE", output_field=TextField())


class ConsoleLine(TeamModel):
    """A line that a console said, without control sequences. `offset` is where it begins in the log, `at` when it
    ended. Rows go when their bytes do.
    """

    port = models.ForeignKey(
        "consoles.ConsolePort", on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    offset = models.BigIntegerField()
    at = models.DateTimeField()
    text = models.TextField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "port", "offset"], name="consoleline_place")]
        indexes = [
            models.Index(fields=["team", "at", "id"], name="consoleline_at"),
            GinIndex(F("team"), OpClass(_letters(), name="gin_trgm_ops"), name="consoleline_search"),
        ]


class ConsoleCursor(TeamModel):
    """How far the log of a port is taken into lines (`taken`), and these forwarded (`sent`); where the log ended when
    somebody looked last (`seen`). All are offsets."""

    port = models.ForeignKey(
        "consoles.ConsolePort", on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    taken = models.BigIntegerField(default=0)
    sent = models.BigIntegerField(default=0)
    seen = models.BigIntegerField(default=0)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "port"], name="consolecursor_port")]


@tracked(fields=["syslog_host", "syslog_port", "syslog_protocol", "record_typed"])
class ConsoleLogSettings(LeasedKey, TeamModel):
    """What a team wants of its consoles' logs; the lease is of what forwards them. `trouble`: why nothing is forwarded,
    empty while it is; not before `again` is it tried."""

    syslog_host = models.CharField(max_length=255, blank=True)
    syslog_port = models.PositiveIntegerField(default=514, validators=[MinValueValidator(1), MaxValueValidator(65535)])
    syslog_protocol = models.CharField(max_length=3, default="tcp", choices=[("tcp", "TCP"), ("udp", "UDP")])
    record_typed = models.BooleanField(default=False)
    trouble = models.CharField(max_length=255, blank=True, editable=False)
    again = models.DateTimeField(null=True, editable=False)

    class Meta(TeamModel.Meta):
        verbose_name = "settings of console logs"
        constraints = [models.UniqueConstraint(fields=["team"], name="consolelogsettings_once")]

    def __str__(self) -> str:
        return "Logs of consoles"


class ConsoleTyped(TeamModel):
    """A line that somebody typed and the device echoed; `offset` is where its echo begins in the log."""

    port = models.ForeignKey(
        "consoles.ConsolePort", on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    offset = models.BigIntegerField()
    at = models.DateTimeField()
    user = models.ForeignKey("tenancy.User", on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.CharField(max_length=1000)

    class Meta(TeamModel.Meta):
        indexes = [models.Index(fields=["team", "port", "offset"], name="consoletyped_place")]
