"""What server and agent say of serial ports: which to open and how, and how each is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pi_agent.fields import U32, U64, Fields
from pi_agent.frames import PORTS, Message, Type
from pi_agent.registration import MAX_PORTS

BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
PARITIES = ("none", "even", "odd")
FLOWS = ("none", "rtscts", "xonxoff")
PROTOS = ("telnet", "ssh", "raw")
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
class Far:
    """A console behind another server, to be dialled. For ssh: `command` is run there (empty: a shell), `host_key` is
    the fingerprint of the far key."""

    proto: str
    host: str
    port: int
    user: str = ""
    secret: str = field(default="", repr=False)
    command: str = ""
    host_key: str = ""

    @property
    def address(self) -> str:
        """As an agent's allow-list names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def read(cls, fields: Fields) -> Self:
        texts = {name: fields.text(name, empty=True) for name in ("user", "secret", "command", "host_key")}
        read = cls(fields.text("proto", 10), fields.text("host"), fields.integer("port", 1, 65535), **texts)
        if read.proto not in PROTOS:
            fields.refuse("proto", f"one of {', '.join(PROTOS)}")
        return read


@dataclass(frozen=True, slots=True)
class Line:
    """One port to open, by the stable name that was registered, or dialled where it has a `far` end. `offset`: the next
    byte that the server expects."""

    stream: int
    name: str
    offset: int
    settings: Settings
    far: Far | None = None

    def to_json(self) -> dict[str, Any]:
        far = {"far": asdict(self.far)} if self.far else {}
        return {"stream": self.stream, "name": self.name, "offset": self.offset, **asdict(self.settings), **far}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        stream, offset = fields.integer("stream", PORTS, U32), fields.integer("offset", 0, U64)
        far = Far.read(fields.object("far")) if "far" in fields else None
        return cls(stream, fields.text("name"), offset, Settings.read(fields), far)


@dataclass(frozen=True, slots=True)
class ConsolePlan(Message):
    """All the ports that are to be open; every other is closed."""

    TYPE = Type.DATA
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        return {"ports": [line.to_json() for line in self.lines]}

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
