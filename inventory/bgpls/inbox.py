"""What the listener reads and writes, from threads that give their connection back."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connection
from django.db.models import F
from django.utils import timezone

from core import live
from core.drain import nudge
from core.scope import team_scope
from core.secrets import SecretsLocked
from inventory.models import TopologySource, TopologyUpdate
from tenancy.models import Team

T = TypeVar("T")
log = logging.getLogger("netops.listener")


@dataclass(frozen=True)
class Source:
    """What of a TopologySource makes a run; a change of it starts a new one."""

    team_id: int
    id: int
    name: str
    host: str
    port: int
    local_as: int
    peer_as: int
    router_id: str
    hold_time_s: int
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.host}:{self.port})"


async def in_database(function: Callable[..., T], *args: Any) -> T:
    def call() -> T:
        try:
            return function(*args)
        finally:
            connection.close()

    return await asyncio.to_thread(call)


def enabled_sources() -> set[Source]:
    names = ("id", "name", "host", "port", "local_as", "peer_as", "router_id", "hold_time_s", "password")
    found: set[Source] = set()
    for team_id in Team.objects.values_list("id", flat=True):
        try:
            with team_scope(team_id):
                rows = list(TopologySource.objects.filter(enabled=True).values(*names))
        except SecretsLocked as error:
            # The other teams' sources go on.
            log.error("the sources of team %d are not listened to: %s", team_id, error)
            continue
        found |= {Source(team_id=team_id, **{**row, "password": row["password"] or ""}) for row in rows}
    return found


def run_begin(source: Source) -> int | None:
    """The number of a new run; None where the source is gone."""
    with team_scope(source.team_id):
        mine = TopologySource.objects.filter(pk=source.id)
        mine.update(run=F("run") + 1)
        number: int | None = mine.values_list("run", flat=True).first()
        return number


def lines_store(source: Source, run: int, lines: list[str]) -> None:
    """Into the inbox, in order. IntegrityError where the source is gone."""
    with team_scope(source.team_id):
        TopologyUpdate.objects.bulk_create(TopologyUpdate(source_id=source.id, run=run, line=line) for line in lines)
        nudge("topology", source.team_id, source.id)


def heard_set(source: Source, run: int) -> int:
    """Zero where the run is not the source's newest."""
    with team_scope(source.team_id):
        return int(TopologySource.objects.filter(pk=source.id, run=run).update(heard=timezone.now()))


def problem_set(source: Source, text: str) -> None:
    with team_scope(source.team_id):
        mine = TopologySource.objects.filter(pk=source.id)
        if mine.exclude(problem=text[:300]).update(problem=text[:300]):
            live.publish(source.team_id, "topology")
