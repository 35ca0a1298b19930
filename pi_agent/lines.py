"""What server and agent say of serial ports: which to open and how, and how each is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from pi_agent.fields import U32, U64, Fields
from pi_agent.frames import PORTS, Message, Type
from pi_agent.registration import MAX_PORTS

BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
PARITIES = ("none", "even", "odd")
FLOWS = ("none", "rtscts", "xonxoff")
MODEM = ("dcd", "dsr", "cts")


@dataclass(frozen=True, slots=True)
class Settings:
    """Eight data bits; one stop bit."""

    baud: int = 9600
    parity: str = "none"
    flow: str = "none"

    @classmethod
    def read(cls, fields: Fields) -> Self:
        read = cls(fields.integer("baud"), fields.text("parity", 10), fields.text("flow", 10))
        for name, known in (("baud", BAUDS), ("parity", PARITIES), ("flow", FLOWS)):
            if getattr(read, name) not in known:
                fields.refuse(name, f"one of {', '.join(map(str, known))}")
        return read


@dataclass(frozen=True, slots=True)
class Line:
    """One port to open, by the stable name that was registered. `offset`: the next byte that the server expects."""

    stream: int
    name: str
    offset: int
    settings: Settings

    @classmethod
    def read(cls, fields: Fields) -> Self:
        stream, offset = fields.integer("stream", PORTS, U32), fields.integer("offset", 0, U64)
        return cls(stream, fields.text("name"), offset, Settings.read(fields))


@dataclass(frozen=True, slots=True)
class ConsolePlan(Message):
    """All the ports that are to be open; every other is closed."""

    TYPE = Type.DATA
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ports": [
                {"stream": line.stream, "name": line.name, "offset": line.offset, **asdict(line.settings)}
                for line in self.lines
            ]
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        lines = tuple(Line.read(each) for each in fields.objects("ports", MAX_PORTS))
        for what in ("stream", "name"):
            if len({getattr(line, what) for line in lines}) < len(lines):
                fields.refuse("ports", f"a list in which each {what} is there once")
        return cls(lines)


@dataclass(frozen=True, slots=True)
class PortState(Message):
    """`trouble`: one sentence where the port is not open, else empty."""

    TYPE = Type.STATE
    trouble: str

    def to_json(self) -> dict[str, Any]:
        return {"trouble": self.trouble}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.text("trouble", empty=True))


@dataclass(frozen=True, slots=True)
class ModemLines(Message):
    """Each of MODEM: whether it is on. Empty where the port is not open, or has none."""

    TYPE = Type.MODEM
    lines: dict[str, bool]

    def to_json(self) -> dict[str, Any]:
        return {"lines": self.lines}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        told = fields.mapping("lines", len(MODEM))
        if any(name not in MODEM or not isinstance(on, bool) for name, on in told.items()):
            fields.refuse("lines", f"an object from {', '.join(MODEM)} to true or false")
        return cls(told)
