"""The link's frames: one binary WebSocket message is one frame, `type u8, stream u32, offset u64, payload`.

The server opens with CHALLENGE, the agent answers HELLO, the server WELCOME; then DATA and ACK flow both
ways, and the agent says with REGISTER what machine it runs on. Offsets are counted per stream and direction;
an ACK carries the next offset expected. An ERROR on stream 0 ends the link, on another stream it only refuses
what came on that stream.
"""

from __future__ import annotations

import enum
import ipaddress
import json
import struct
import uuid
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from pi_agent.fields import U32, U64, Fields, FrameError

__all__ = ["Challenge", "Error", "Frame", "FrameError", "Hello", "Message", "Type", "Welcome", "ack", "signed_message"]

PROTOCOL = 5
OLDEST = 1
"""Of the versions this code still speaks. 2 added REGISTER, REGISTERED, PING and PONG; 3 ROTATE; 4 the serial ports; 5
MODEM, and consoles that are dialled."""
MAX_INTERFACES = 256
MAX_ADDRESSES = 64
"""Of one interface."""
MAX_FRAME = 1 << 20
CONTROL = 0
PROBING = 1
CONSOLES = 2
"""The server says there which serial ports to open (pi_agent/lines.py)."""
PORTS = 1 << 16
"""Streams from here on are serial ports. To the server: what the port gave, by the offset of its bytes, acknowledged
when stored; an ACK that repeats the last one asks for all after it again. To the agent: what to write, the offset being
the writer's fence."""

_HEADER = struct.Struct("!BIQ")
MAX_PAYLOAD = MAX_FRAME - _HEADER.size


class Type(enum.IntEnum):
    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    DATA = 4
    ACK = 5
    ERROR = 6
    REGISTER = 7
    """A Registration (pi_agent/registration.py), as often as it changes; only the newest counts."""
    PING = 8
    """Answered with PONG at once: the other end wants to know whether the agent itself is there."""
    PONG = 9
    REGISTERED = 10
    """The answer to REGISTER: what the server grants."""
    ROTATE = 11
    """The server wants this agent to take another key (pi_agent/rotation.py)."""
    STATE = 12
    """How a serial port is (PortState, pi_agent/lines.py), after each change and at the start of each link."""
    BREAK = 13
    """Send a break on a serial port; the offset is the writer's fence."""
    MODEM = 14
    """Asks which of a serial port's modem lines are on; the answer is a ModemLines (pi_agent/lines.py)."""


@dataclass(frozen=True, slots=True)
class Frame:
    type: Type
    stream: int = CONTROL
    offset: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        if not 0 <= self.stream <= U32 or not 0 <= self.offset <= U64:
            raise FrameError(f"stream {self.stream} or offset {self.offset} is out of range")
        if len(self.payload) > MAX_PAYLOAD:
            raise FrameError(f"a payload of {len(self.payload)} bytes is over the {MAX_PAYLOAD} that a frame holds")
        return _HEADER.pack(self.type, self.stream, self.offset) + self.payload

    @classmethod
    def decode(cls, message: bytes | str) -> Frame:
        if isinstance(message, str):
            raise FrameError("a text message is not a frame")
        if not _HEADER.size <= len(message) <= MAX_FRAME:
            raise FrameError(f"a frame has {_HEADER.size} to {MAX_FRAME} bytes, this one {len(message)}")
        kind, stream, offset = _HEADER.unpack_from(message)
        try:
            return cls(Type(kind), stream, offset, bytes(message[_HEADER.size :]))
        except ValueError:
            raise FrameError(f"frame type {kind} is unknown") from None


def ack(stream: int, offset: int) -> Frame:
    """Everything before `offset` has arrived."""
    return Frame(Type.ACK, stream, offset)


def signed_message(nonce: bytes, key: bytes) -> bytes:
    """What an agent signs to prove that it holds the ed25519 key."""
    return b"netops-link-1\0" + nonce + key


class Message:
    """A frame whose payload is one JSON object."""

    TYPE: ClassVar[Type]

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def read(cls, fields: Fields) -> Self:
        raise NotImplementedError

    def frame(self, stream: int = CONTROL, offset: int = 0) -> Frame:
        return Frame(self.TYPE, stream, offset, json.dumps(self.to_json(), separators=(",", ":")).encode())

    @classmethod
    def parse(cls, frame: Frame) -> Self:
        """Raises FrameError, also when the frame is of another type."""
        if frame.type is not cls.TYPE:
            raise FrameError(f"{cls.TYPE.name} was expected, {frame.type.name} came")
        return cls.read(Fields.parse(frame.payload, cls.TYPE.name))


@dataclass(frozen=True, slots=True)
class Challenge(Message):
    TYPE = Type.CHALLENGE
    versions: tuple[int, int]
    nonce: bytes

    def to_json(self) -> dict[str, Any]:
        return {"versions": list(self.versions), "nonce": self.nonce.hex()}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        versions = fields.array("versions", 2)
        if len(versions) != 2 or any(type(v) is not int or not 0 <= v <= U32 for v in versions):
            fields.refuse("versions", "a list of two integers")
        return cls((versions[0], versions[1]), fields.octets("nonce", 16, 64))


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """`streams`: for each stream the oldest offset that the agent still holds (0 from a fresh agent)."""

    TYPE = Type.HELLO
    key: bytes
    signature: bytes
    boot: uuid.UUID
    hostname: str
    software: str
    addresses: dict[str, list[str]]
    streams: dict[int, int]
    version: int = PROTOCOL

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "key": self.key.hex(),
            "signature": self.signature.hex(),
            "boot": str(self.boot),
            "hostname": self.hostname,
            "software": self.software,
            "addresses": self.addresses,
            "streams": {str(stream): offset for stream, offset in self.streams.items()},
        }

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            key=fields.octets("key", 32, 32),
            signature=fields.octets("signature", 64, 64),
            boot=fields.uuid("boot"),
            hostname=fields.text("hostname"),
            software=fields.text("software", 64),
            addresses=_addresses(fields),
            streams=fields.offsets("streams"),
            version=fields.integer("version"),
        )


def _addresses(fields: Fields) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name, values in fields.mapping("addresses", MAX_INTERFACES).items():
        if (
            not 0 < len(name) <= 64
            or not name.isprintable()
            or not isinstance(values, list)
            or len(values) > MAX_ADDRESSES
        ):
            fields.refuse("addresses", "an object from interface names to lists of addresses")
        try:
            result[name] = [str(ipaddress.ip_address(str(value))) for value in values]
        except ValueError:
            fields.refuse("addresses", "an object whose lists hold IP addresses")
    return result


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """`streams`: for each stream the next offset that the server expects. `window`: un-ACKed bytes in flight."""

    TYPE = Type.WELCOME
    agent: str
    streams: dict[int, int]
    window: int
    version: int = PROTOCOL

    def to_json(self) -> dict[str, Any]:
        streams = {str(stream): offset for stream, offset in self.streams.items()}
        return {"version": self.version, "agent": self.agent, "streams": streams, "window": self.window}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(
            agent=fields.text("agent"),
            streams=fields.offsets("streams"),
            window=fields.integer("window", 1),
            version=fields.integer("version"),
        )


@dataclass(frozen=True, slots=True)
class TunnelTerms(Message):
    """Where an SSH tunnel may be opened: `port` on the loopback of `server`. `host_key`: as in OpenSSH's .pub."""

    TYPE = Type.REGISTERED
    server: str
    ssh_port: int
    port: int
    host_key: str

    def to_json(self) -> dict[str, Any]:
        return {"tunnel": asdict(self)}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        tunnel = fields.object("tunnel")
        return cls(
            server=tunnel.text("server"),
            ssh_port=tunnel.integer("ssh_port", 1, 65535),
            port=tunnel.integer("port", 1, 65535),
            host_key=tunnel.text("host_key", 1000),
        )


@dataclass(frozen=True, slots=True)
class Error(Message):
    TYPE = Type.ERROR
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message}

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.text("code", 64), fields.text("message", 1000))
