"""What the hub and pages read of console ports."""

from __future__ import annotations

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


def lines_of(*, agent_id: int) -> list[OwnLine]:
    """The ports that an agent is to have open."""
    rows = ConsolePort.objects.filter(agent_id=agent_id).order_by("pk")
    values = rows.values_list("pk", "name", "baud", "parity", "flow")
    return [OwnLine(pk, name, Settings(baud, parity, flow)) for pk, name, baud, parity, flow in values]
