"""What ears and pages read of rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings

from consoles.models import ConsolePort, ConsoleRule
from consoles.patterns import PatternSet
from consoles.store import Log

TRIED = 512 << 10
"""Bytes of a log on which a pattern is tried."""
TRIED_SHOWN = 50


def patterns_on() -> list[tuple[int, str]]:
    """(rule, pattern) of the rules that are on."""
    return list(ConsoleRule.objects.filter(enabled=True).order_by("pk").values_list("pk", "pattern"))


def places_of(*, ports: Collection[int]) -> dict[int, int | None]:
    """{port: the offset up to which rules looked at its log}."""
    return dict(ConsolePort.objects.filter(pk__in=ports).values_list("pk", "looked"))


@dataclass(frozen=True)
class Tried:
    """What a pattern finds in the newest part of a port's log: the last lines that match, of how many."""

    port: ConsolePort
    lines: int
    matched: int
    shown: list[str]


def tried(*, port: ConsolePort, pattern: str) -> Tried:
    """The pattern is without complaint."""
    log = Log(settings.CONSOLE_STORE / str(port.team_id) / str(port.pk), settings.CONSOLE_KEEP)
    place = max(log.first, log.end - TRIED)
    data = b""
    while True:
        place, piece = log.read(place, TRIED)
        if not piece:
            break
        data, place = data + piece, place + len(piece)
    found = [text for _, text, _ in PatternSet([(0, pattern)]).of_lines(0, data)]
    return Tried(port, data.count(b"\n"), len(found), found[-TRIED_SHOWN:])
