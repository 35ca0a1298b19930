"""Reports: what became of the probes of one interval, packed in network byte order.

header `!BIQH`: version, plan version, interval end (unix microseconds), number of records;
record `!IIHHHHH`: walk, first sequence, decided, received, late, duplicate, reordered; then a bitmap of
`decided` bits (least significant first, 1 = received in time), then one u32 per received probe: its round-trip
time in microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pi_agent.fields import FrameError

VERSION = 1
MAX_COUNT = 0xFFFF
MAX_RTT = 0xFFFF_FFFF

_HEADER = struct.Struct("!BIQH")
_RECORD = struct.Struct("!IIHHHHH")


class ReportError(FrameError):
    """The bytes are not a report."""


@dataclass(frozen=True, slots=True)
class Record:
    """One walk: `rtts[i]` is the round trip in microseconds of probe `first + i` (modulo 2**32), None if lost.

    `late` and `duplicate` count what was seen in the interval, whichever probe it belongs to.
    """

    walk: int
    first: int
    rtts: tuple[int | None, ...]
    late: int = 0
    duplicate: int = 0
    reordered: int = 0

    @property
    def received(self) -> int:
        return len(self.rtts) - self.rtts.count(None)

    @property
    def size(self) -> int:
        """Encoded, in bytes."""
        return _RECORD.size + (len(self.rtts) + 7) // 8 + 4 * self.received


@dataclass(frozen=True, slots=True)
class Report:
    """`end`: the end of the interval in unix microseconds. A walk occurs at most once."""

    plan_version: int
    end: int
    records: tuple[Record, ...]


def encode(report: Report) -> bytes:
    """Raises ReportError if a value does not fit its field."""
    try:
        parts = [_HEADER.pack(VERSION, report.plan_version, report.end, len(report.records))]
        for record in report.records:
            parts += _encode_record(record)
    except struct.error as error:
        raise ReportError(f"the report does not fit its format: {error}") from None
    return b"".join(parts)


def _encode_record(record: Record) -> list[bytes]:
    decided = len(record.rtts)
    came = [rtt for rtt in record.rtts if rtt is not None]
    bits = sum(1 << i for i, rtt in enumerate(record.rtts) if rtt is not None)
    counts = (decided, len(came), record.late, record.duplicate, record.reordered)
    head = _RECORD.pack(record.walk, record.first, *counts)
    return [head, bits.to_bytes((decided + 7) // 8, "little"), struct.pack(f"!{len(came)}I", *came)]


def decode(payload: bytes) -> Report:
    """Raises ReportError, whatever the bytes."""
    try:
        version, plan_version, end, count = _HEADER.unpack_from(payload)
        if version != VERSION:
            raise ReportError(f"report version {version} is unknown")
        offset, records = _HEADER.size, []
        for _ in range(count):
            record, offset = _decode_record(payload, offset)
            records.append(record)
    except struct.error:
        raise ReportError("the report is cut short") from None
    if offset != len(payload):
        raise ReportError(f"{len(payload) - offset} bytes follow the report")
    if len({record.walk for record in records}) != count:
        raise ReportError("a walk occurs twice in the report")
    return Report(plan_version, end, tuple(records))


def _decode_record(payload: bytes, offset: int) -> tuple[Record, int]:
    walk, first, decided, received, late, duplicate, reordered = _RECORD.unpack_from(payload, offset)
    offset += _RECORD.size
    width = (decided + 7) // 8
    bitmap = payload[offset : offset + width]
    came = struct.unpack_from(f"!{received}I", payload, offset + width)
    bits = int.from_bytes(bitmap, "little")
    if bits.bit_count() != received or bits >> decided:
        raise ReportError(f"the bitmap of walk {walk} does not fit its counts")
    return Record(walk, first, _spread(bits, decided, came), late, duplicate, reordered), offset + width + 4 * received


def _spread(bits: int, decided: int, came: Sequence[int]) -> tuple[int | None, ...]:
    rtts = iter(came)
    flags = bin(bits | 1 << decided)[:2:-1]
    return tuple(next(rtts) if flag == "1" else None for flag in flags)
