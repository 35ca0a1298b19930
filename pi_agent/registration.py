"""What an agent says of the machine it runs on: one JSON object, the same over the link and by HTTP."""

from __future__ import annotations

import ipaddress
import json
import uuid
from dataclasses import asdict, dataclass
from typing import Self

from pi_agent.fields import U32, Fields, FrameError

MAX_INTERFACES = 256
MAX_ADDRESSES = 64
"""Of one interface."""
MAX_PORTS = 512
MAX_BODY = 512 << 10
"""Bytes of a registration."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. `up`: whether it carries traffic (IFF_LOWER_UP). `mac` is empty where there is none."""

    name: str
    up: bool
    mac: str
    addresses: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> Self:
        try:
            addresses = tuple(str(ipaddress.ip_address(str(each))) for each in fields.array("addresses", MAX_ADDRESSES))
        except ValueError:
            fields.refuse("addresses", "a list of IP addresses")
        return cls(fields.text("name", 64), fields.boolean("up"), fields.text("mac", 64, empty=True), addresses)


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port. `name` stays the same when adapters are plugged in another order; `device` may not (ttyUSB0).
    `vendor` and `product` are USB numbers in hexadecimal; what a port has not is empty."""

    name: str
    device: str
    vendor: str = ""
    product: str = ""
    serial: str = ""
    description: str = ""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        rest = {name: fields.text(name, 255, empty=True) for name in ("vendor", "product", "serial", "description")}
        return cls(fields.text("name"), fields.text("device"), **rest)


@dataclass(frozen=True, slots=True)
class Registration:
    """`serial` is a hint, never an identity: cloned machines share it. `boot` is the kernel's boot id."""

    hostname: str
    serial: str
    model: str
    os: str
    software: str
    boot: uuid.UUID
    uptime_s: int
    interfaces: tuple[Interface, ...]
    ports: tuple[Port, ...]

    def to_json(self) -> bytes:
        return json.dumps({**asdict(self), "boot": str(self.boot)}, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Raises FrameError naming the field."""
        if len(payload) > MAX_BODY:
            raise FrameError(f"a registration has at most {MAX_BODY} bytes, this one {len(payload)}")
        return cls.read(Fields.parse(payload, "registration"))

    @classmethod
    def read(cls, fields: Fields) -> Self:
        interfaces = tuple(Interface.read(each) for each in fields.objects("interfaces", MAX_INTERFACES))
        ports = tuple(Port.read(each) for each in fields.objects("ports", MAX_PORTS))
        for what, names in (("interfaces", [one.name for one in interfaces]), ("ports", [one.name for one in ports])):
            if len(set(names)) < len(names):
                fields.refuse(what, "a list in which each name is there once")
        return cls(
            hostname=fields.text("hostname"),
            serial=fields.text("serial", empty=True),
            model=fields.text("model", empty=True),
            os=fields.text("os", empty=True),
            software=fields.text("software", 40),
            boot=fields.uuid("boot"),
            uptime_s=fields.integer("uptime_s", 0, U32),
            interfaces=interfaces,
            ports=ports,
        )
