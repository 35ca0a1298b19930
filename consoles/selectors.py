"""What the hub and pages read of console ports."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from consoles.models import ConsolePort
from pi_agent.frames import PORTS
from pi_agent.lines import Settings


@dataclass(frozen=True)
class OwnLine:
    """A port as the gateway needs it to plan."""

    port_id: int
    name: str
    settings: Settings

    @property
    def stream(self) -> int:
        return PORTS + self.port_id


def lines_of(*, agents: Collection[int]) -> dict[int, list[OwnLine]]:
    """The ports that each of these agents is to have open; agents without any are left out."""
    rows = ConsolePort.objects.filter(agent_id__in=agents).order_by("pk")
    found: dict[int, list[OwnLine]] = {}
    for agent_id, pk, name, baud, parity, flow in rows.values_list("agent_id", "pk", "name", "baud", "parity", "flow"):
        found.setdefault(agent_id, []).append(OwnLine(pk, name, Settings(baud, parity, flow)))
    return found
