"""Lines of consoles to the team's syslog: RFC 5424 over UDP (RFC 5426) or TCP with counted octets (RFC 6587, 3.4.1).

Each port has an offset up to which its lines are sent, which moves when the other side has taken them: it closes after
us (TCP), or the datagrams are out (UDP). After a lost answer they are sent again: at least once.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F
from django.utils import timezone

from consoles.log_models import ConsoleCursor, ConsoleLine, ConsoleLogSettings
from core import outbound
from core.drain import LeasedDrain, nudge
from core.scope import current_team_id

BATCH = 500
PRIORITY = 16 * 8 + 6  # local0, informational
LONGEST = {"tcp": 8192, "udp": 2048}
"""Bytes of a message that receivers take at least, or by default."""
TIMEOUT_S = 5.0
AGAIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Batch:
    """`sent`: for each port the offset behind what it has here."""

    lines: list[ConsoleLine]
    sent: dict[int, int]


def message(line: ConsoleLine) -> bytes:
    port = line.port
    name = port.device.name if port.device else str(port)
    host = "".join(each if "!" <= each <= "~" else "-" for each in name)[:255] or "-"
    return f"<{PRIORITY}>1 {line.at:%Y-%m-%dT%H:%M:%S.%fZ} {host} console {port.pk} - - \ufeff{line.text}".encode()


def look() -> None:
    """Have forwarded what waits; of the team in scope."""
    settings = ConsoleLogSettings.objects.exclude(syslog_host="").first()
    if settings and _behind().exists():
        nudge(drain.name, current_team_id(), settings.pk)


def _behind() -> Any:
    return ConsoleCursor.objects.filter(sent__lt=F("taken")).order_by("pk")


def _due(key_id: int, now: datetime) -> Batch | None:
    settings = ConsoleLogSettings.objects.get(pk=key_id)
    if not settings.syslog_host or (settings.again and settings.again > now):
        return None
    batch = Batch([], {})
    for cursor in _behind():
        left = BATCH - len(batch.lines)
        waiting = ConsoleLine.objects.filter(port_id=cursor.port_id, offset__gte=cursor.sent, offset__lt=cursor.taken)
        lines = list(waiting.select_related("port__device").order_by("offset")[:left])
        batch.lines.extend(lines)
        batch.sent[cursor.port_id] = lines[-1].offset + 1 if len(lines) == left else cursor.taken
        if len(lines) == left:
            break
    return batch if batch.sent else None


def _perform(settings: ConsoleLogSettings, batch: Batch) -> str:
    """Why it did not work; empty where it did."""
    longest = LONGEST[settings.syslog_protocol]
    messages = [message(line)[:longest].decode(errors="ignore").encode() for line in batch.lines]
    if not messages:
        return ""
    try:
        target = outbound.resolve(settings.syslog_host, settings.syslog_port, "syslog_host")
        send = _send_tcp if settings.syslog_protocol == "tcp" else _send_udp
        send((target.address, target.port), messages)
    except ValidationError as error:
        return error.messages[0]
    except OSError as error:
        return f"{settings.syslog_host} did not take the lines: {error.strerror or error}."
    return ""


def _send_tcp(address: tuple[str, int], messages: list[bytes]) -> None:
    with socket.create_connection(address, TIMEOUT_S) as connection:
        connection.sendall(b"".join(b"%d %s" % (len(each), each) for each in messages))
        connection.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):  # one that does not close after us took it all the same
            connection.recv(1)


def _send_udp(address: tuple[str, int], messages: list[bytes]) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(address)
        for each in messages:
            datagrams.send(each)


def _record(settings: ConsoleLogSettings, batch: Batch, trouble: str) -> None:
    if not trouble:
        for port_id, offset in batch.sent.items():
            ConsoleCursor.objects.filter(port_id=port_id).update(sent=offset)
    again = timezone.now() + AGAIN if trouble else None
    ConsoleLogSettings.objects.filter(pk=settings.pk).update(trouble=trouble[:255], again=again)


drain = LeasedDrain("console-syslog", ConsoleLogSettings, _due, _perform, _record)
