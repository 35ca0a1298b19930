"""What the hub and pages read of console ports."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Func, Q
from django.db.models.functions import Extract
from django.utils import timezone

from consoles.models import ConsoleFar, ConsoleLock, ConsolePort, ConsoleVisit
from pi_agent.frames import PORTS
from pi_agent.lines import Far, Settings

VISITS = 8
_NOW = Func(function="clock_timestamp", output_field=DateTimeField())
_LEFT = ExpressionWrapper(F("until") - _NOW, output_field=DurationField())


@dataclass(frozen=True)
class Held:
    """Who has a port for themselves alone: `session` is empty while writers share. For `left` s, unless renewed."""

    fence: int = 0
    session: str = ""
    who: str = ""
    left: float = 0.0


@dataclass(frozen=True)
class OwnLine:
    """A port as the gateway needs it to plan."""

    port_id: int
    name: str
    settings: Settings
    far: Far | None = None

    @property
    def stream(self) -> int:
        return PORTS + self.port_id


def lines_of(*, agents: Collection[int]) -> dict[int, list[OwnLine]]:
    """The ports that each of these agents is to have open; agents without any are left out."""
    rows = ConsolePort.objects.filter(agent_id__in=agents).order_by("pk")
    found: dict[int, list[OwnLine]] = {}
    dialled = {
        far.port_id: Far(far.proto, far.host, far.number, far.user, far.secret or "", far.command, far.host_key)
        for far in ConsoleFar.objects.filter(port__agent_id__in=agents)
    }
    for agent_id, pk, name, baud, parity, flow in rows.values_list("agent_id", "pk", "name", "baud", "parity", "flow"):
        found.setdefault(agent_id, []).append(OwnLine(pk, name, Settings(baud, parity, flow), dialled.get(pk)))
    return found


def port_exists(*, port_id: int) -> bool:
    return ConsolePort.objects.filter(pk=port_id).exists()


def locks_of(*, port_ids: Collection[int]) -> dict[int, Held]:
    """Of the ports that were ever claimed."""
    rows = ConsoleLock.objects.filter(port_id__in=port_ids).values_list(
        "port_id", "fence", "session", "who", Extract(_LEFT, "epoch")
    )
    return {pk: Held(fence, *who) if who[2] and who[2] > 0 else Held(fence) for pk, fence, *who in rows}


def visits_of(*, port_id: int) -> list[ConsoleVisit]:
    """The latest few; `here` where the person still is."""
    visits = list(ConsoleVisit.objects.filter(port_id=port_id).order_by("-began")[:VISITS])
    since = timezone.now() - timedelta(minutes=2)  # twice the time between notes
    for visit in visits:
        visit.here = visit.ended is None and visit.seen > since
    return visits


@dataclass(frozen=True)
class Named:
    """A port as people ask for it where there is no page."""

    port_id: int
    title: str
    device: str
    agent: str

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be asked for by."""
        return self.title, self.device, str(self.port_id)


def named_ports() -> list[Named]:
    """The team's, in the order of the list of consoles."""
    rows = ConsolePort.objects.select_related("device", "agent").order_by("title", "name", "pk")
    return [Named(row.pk, str(row), row.device.name if row.device else "", row.agent.name) for row in rows]


@dataclass(frozen=True)
class Due:
    """A port that is to be tested, or what was `asked` for; `device` is the name of whoever should answer."""

    port_id: int
    asked: str
    device: str


def due_of(*, ports: Collection[int]) -> list[Due]:
    """Of these ports; whoever has waited longest first."""
    regular = Q(testing=True, test_due__lte=timezone.now())
    rows = ConsolePort.objects.filter(regular | ~Q(asked=""), pk__in=ports).order_by("test_due")
    return [Due(pk, asked, device or "") for pk, asked, device in rows.values_list("pk", "asked", "device__name")]
