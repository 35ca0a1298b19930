"""Plans: which packets to send, how often, and where in them the probe's payload is patched.

A template is a whole IPv4 packet, any number of GRE (RFC 2784, four bytes) or IP-in-IP (RFC 2003) layers
round one UDP datagram. It comes from the server, and the agent sends it by a raw socket: so everything that
could make the agent a weapon is refused: other protocols, differing sources, destinations that are not unicast.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any, Self

from pi_agent.fields import Fields, FrameError

PAYLOAD = struct.Struct("!4sIIIQ")
"""magic, prober nonce, walk id, sequence, transmit time (monotonic ns)"""
MAGIC = b"NPv1"

MIN_RATE = 0.001
MAX_RATE = 10_000
"""Probes per second of all walks together."""
MAX_WALKS = 0xFFFF

_GRE, _IPIP, _UDP = 47, 4, 17
_GRE_IPV4 = b"\x00\x00\x08\x00"


class PlanError(FrameError):
    """The plan is refused; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One packet to send `rate` times a second; the 24 byte payload lies at `payload_offset`."""

    id: int
    rate: float
    template: bytes
    payload_offset: int

    @property
    def source(self) -> str:
        """The agent that sends it."""
        return socket.inet_ntoa(self.template[12:16])

    @property
    def destination(self) -> str:
        """Of the outermost header: where the packet is sent."""
        return socket.inet_ntoa(self.template[16:20])


@dataclass(frozen=True, slots=True)
class Plan:
    version: int
    walks: tuple[Walk, ...] = ()
    receive_port: int = 3000
    timeout_ms: int = 500
    report_ms: int = 250

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "version": self.version,
                "receive_port": self.receive_port,
                "timeout_ms": self.timeout_ms,
                "report_ms": self.report_ms,
                "walks": [
                    {
                        "id": walk.id,
                        "rate": walk.rate,
                        "template": base64.b64encode(walk.template).decode(),
                        "payload_offset": walk.payload_offset,
                    }
                    for walk in self.walks
                ],
            },
            separators=(",", ":"),
        ).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> Self:
        """Raises PlanError, whatever the bytes."""
        try:
            fields = Fields.parse(payload, "plan")
            port = fields.integer("receive_port", 1, 0xFFFF)
            walks = tuple(_walk(value, port) for value in fields.array("walks", MAX_WALKS))
            plan = cls(
                version=fields.integer("version"),
                walks=walks,
                receive_port=port,
                timeout_ms=fields.integer("timeout_ms", 1, 10_000),
                report_ms=fields.integer("report_ms", 10, 60_000),
            )
        except PlanError:
            raise
        except FrameError as error:
            raise PlanError(str(error)) from None
        if len({walk.id for walk in walks}) != len(walks):
            raise PlanError("plan: a walk id occurs twice")
        if (total := sum(walk.rate for walk in walks)) > MAX_RATE:
            raise PlanError(f"plan: {total:g} probes a second are over the {MAX_RATE} that an agent sends")
        return plan


def _walk(value: Any, port: int) -> Walk:
    number = Fields(value, "walk").integer("id")
    fields = Fields(value, f"walk {number}")
    text = fields.text("template", 90_000)
    try:
        template = base64.b64decode(text, validate=True)
    except ValueError:
        fields.refuse("template", "base64")
    offset = fields.integer("payload_offset", 0, 0xFFFF)
    try:
        check_template(template, offset, port)
    except PlanError as error:
        raise PlanError(f"walk {number}: {error}") from None
    return Walk(number, fields.number("rate", MIN_RATE, MAX_RATE), template, offset)


def check_template(template: bytes, payload_offset: int, port: int) -> None:
    """Raises PlanError unless the template is one that an agent may send."""
    start, protocol, sources, destination = 0, _IPIP, set(), b""
    while protocol in (_GRE, _IPIP):
        if protocol == _GRE:
            if template[start : start + 4] != _GRE_IPV4:
                raise PlanError("the template has GRE options, or something else than IPv4 inside GRE")
            start += 4
        length, protocol, source, destination = _header(template, start)
        start += length
        sources.add(source)
    if protocol != _UDP:
        raise PlanError(f"the template carries IP protocol {protocol}, not UDP")
    if sources != {destination}:
        raise PlanError("the template does not come from, and return to, one and the same address")
    if len(template) < start + 8 + PAYLOAD.size or payload_offset != start + 8:
        raise PlanError("payload_offset is not where the UDP payload of 24 bytes or more begins")
    to, length, checksum = struct.unpack_from("!HHH", template, start + 2)
    if to != port or length != len(template) - start or checksum:
        raise PlanError(f"the UDP header must name port {port}, its true length and checksum 0")


def _header(template: bytes, start: int) -> tuple[int, int, bytes, bytes]:
    """(header length, protocol, source, destination) of the IPv4 header at `start`."""
    if len(template) < start + 20 or template[start] >> 4 != 4:
        raise PlanError("the template is not IPv4")
    length = (template[start] & 0xF) * 4
    total, fragment = struct.unpack_from("!H2xH", template, start + 2)
    if length < 20 or total != len(template) - start or fragment & 0x3FFF:
        raise PlanError("the template has an IPv4 header with a wrong length, or a fragment")
    destination = template[start + 16 : start + 20]
    _check_unicast(destination)
    return length, template[start + 9], template[start + 12 : start + 16], destination


def _check_unicast(address: bytes) -> None:
    if address[0] in (0, 127) or address[0] >= 224 or address[:2] == b"\xa9\xfe":
        name = socket.inet_ntoa(address)
        raise PlanError(f"destination {name} is multicast, broadcast, loopback, link-local or reserved")
