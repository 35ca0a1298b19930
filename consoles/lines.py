"""Lines of consoles' logs, taken into the database by workers: for search, and to be forwarded.

The gateway knows nothing of it: workers read the logs' folder, so a log waits on the disk while the database is away. A
port's cursor row is locked while its log is taken, and lines and cursor are written in one transaction: nothing is
there twice, whoever is killed. An unfinished line waits for its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from consoles.history import History, folder_of, when
from consoles.log_models import ConsoleCursor, ConsoleLine, ConsoleTyped
from consoles.models import ConsolePort
from consoles.plain import Lines, plain
from consoles.store import newest_end
from core.drain import nudge
from core.scope import current_team_id, team_scope

BATCH = 1 << 20
"""Bytes of a log in one transaction: more than a line may have."""
MOST = 200
"""Lines that a search gives at once."""


@dataclass(frozen=True)
class Taker:
    """core.drain.Runnable: the key is a port."""

    name: str = "console-lines"

    def run(self, team_id: int, key_id: int) -> int:
        total = 0
        while True:
            with team_scope(team_id):
                done = self._step(team_id, key_id)
            if done is None:
                return total
            total += done

    def _step(self, team_id: int, port_id: int) -> int | None:
        """Take what one transaction holds; returns how many lines that were, None where nothing is left to do."""
        cursor = ConsoleCursor.objects.select_for_update(skip_locked=True, no_key=True).filter(port_id=port_id).first()
        if cursor is None:
            return None
        history = History(team_id, port_id)
        if history.end < cursor.taken:  # the folder is another one
            ConsoleLine.objects.filter(port_id=port_id).delete()
            cursor.taken = cursor.sent = history.first
        for model in (ConsoleLine, ConsoleTyped):
            model.objects.filter(port_id=port_id, offset__lt=history.first).delete()
        start = max(cursor.taken, history.first)
        lines, read = Lines(start), start
        found: list[tuple[int, bytes]] = []
        for offset, data in history.pieces(start, history.end, BATCH):
            found += lines.feed(offset, data)
            read = offset + len(data)
            if read - start >= BATCH:
                break
        self._store(history, port_id, found)
        moved = lines.offset > cursor.taken
        cursor.taken, cursor.seen = lines.offset, read
        cursor.save(update_fields=["taken", "sent", "seen"])
        return len(found) if moved else None

    def _store(self, history: History, port_id: int, found: Sequence[tuple[int, bytes]]) -> None:
        if not found:
            return
        times = history.times.between(found[0][0], found[-1][0] + len(found[-1][1]))
        rows = []
        for offset, line in found:
            if text := plain(line):
                time = times[max(0, bisect_right(times, offset + len(line) - 1, key=lambda each: each[0]) - 1)][1]
                rows.append(ConsoleLine(port_id=port_id, offset=offset, at=when(time), text=text))
        ConsoleLine.objects.bulk_create(rows, batch_size=1000)


def lines_look() -> int:
    """Have the logs taken that grew since somebody looked; of the team in scope."""
    cursors = {cursor.port_id: cursor for cursor in ConsoleCursor.objects.all()}
    ports = list(ConsolePort.objects.values_list("pk", flat=True))
    new = [ConsoleCursor(port_id=port_id) for port_id in ports if port_id not in cursors]
    ConsoleCursor.objects.bulk_create(new, ignore_conflicts=True)
    cursors |= {cursor.port_id: cursor for cursor in new}
    team_id, grown = current_team_id(), 0
    for port_id in ports:
        if newest_end(folder_of(team_id, port_id)) != cursors[port_id].seen:
            nudge(Taker.name, team_id, port_id)
            grown += 1
    return grown


def lines_find(
    *,
    text: str,
    ports: Sequence[int] | None,
    since: datetime | None,
    until: datetime | None,
    before: int | None,
    most: int = MOST,
) -> list[ConsoleLine]:
    """Lines that contain `text`, newest first, whatever its case; `before`: older than the line of that id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT netops_console_search(%s, %s::bigint[], %s::timestamptz, %s::timestamptz, %s, %s)",
            [text, list(ports) if ports is not None else None, since, until, before, most],
        )
        ids = cursor.fetchone()[0] or []
    lines = ConsoleLine.objects.filter(pk__in=ids).select_related("port__device", "port__agent")
    return list(lines.order_by("-at", "-pk"))
