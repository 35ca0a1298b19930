"""From an agent's reports to history and path states: the drain `reports`, one transaction a batch."""

from __future__ import annotations

import logging
import statistics
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from agents.models import Agent
from core.live import publish
from core.scope import current_team_id
from pi_agent.prober.report import Record, Report, ReportError, decode
from probing.evaluation import evaluate
from probing.models import Campaign, Path, ReportBatch, minute_of
from probing.states import detector_of, thresholds_of

log = logging.getLogger("netops.probing")

LOSS_WINDOW = 100
"""Probes of which a path shows the loss."""
MAX_RTT_MS = 65504.0
"""The largest half-precision number."""
MAX_MINUTE = 1 << 18
"""Bytes of round trips kept of one path and minute: over twice what 1000 probes/s make."""
INT = 2**31 - 1

# What this process knows to exist; committed partitions only.
_partitions: set[str] = set()


@dataclass
class Minute:
    """What one path's probes said in one minute, or a part of it."""

    sent: int = 0
    received: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    rtts: list[bytes] = field(default_factory=list)

    def add(self, record: Record) -> None:
        came = [min(rtt / 1000, MAX_RTT_MS) for rtt in record.rtts if rtt is not None]
        self.sent += len(record.rtts)
        self.received += len(came)
        self.late += record.late
        self.duplicate += record.duplicate
        self.reordered += record.reordered
        self.rtts.append(struct.pack(f"<{len(came)}e", *came))


def reports_apply(agent: Agent, rows: Sequence[ReportBatch]) -> None:
    """Take in reports in the order they were sent; what cannot be read, or is of a path not the agent's, is dropped."""
    # Locked before their paths, as planning does.
    campaigns = {row.pk: row for row in Campaign.objects.select_for_update(no_key=True).filter(agent=agent)}
    paths = {path.pk: path for path in Path.objects.filter(campaign__in=campaigns)}
    minutes: dict[tuple[int, datetime], Minute] = {}
    touched: dict[int, _Progress] = {}
    unread = 0
    for row in rows:
        try:
            report = decode(bytes(row.payload))
        except ReportError:
            unread += 1
            continue
        minute = minute_of(_ended(report, row.received))
        for record in report.records:
            path = paths.get(record.walk)
            if path is None:
                continue
            minutes.setdefault((path.pk, minute), Minute()).add(record)
            if path.active:
                progress = touched.setdefault(path.pk, _Progress(path, campaigns[path.campaign_id]))
                progress.feed(record, row.received)
    if unread:
        log.warning("agent %s: %d reports could not be read and were dropped", agent, unread)
    _store_minutes(minutes)
    _store_paths(list(touched.values()))
    _announce(list(touched.values()))
    for campaign in campaigns.values():
        evaluate(campaign, [path for path in paths.values() if path.campaign_id == campaign.pk])


class _Progress:
    """One path while a batch is taken in."""

    def __init__(self, path: Path, campaign: Campaign) -> None:
        self.path = path
        self.state = path.state
        self.heard = path.heard
        self.detector = detector_of(path)
        self._thresholds = thresholds_of(campaign, path)
        self._rtts: list[int] = []

    def feed(self, record: Record, received: datetime) -> None:
        came = [rtt for rtt in record.rtts if rtt is not None]
        bits = sum(1 << place for place, rtt in enumerate(record.rtts) if rtt is not None)
        self.detector.feed(
            self._thresholds, bits.to_bytes((len(record.rtts) + 7) // 8, "little"), len(record.rtts), came
        )
        self._rtts = came or self._rtts
        path = self.path
        path.heard = max(path.heard, received) if path.heard else received
        # A new path is not called up before it could have been found down.
        if self.detector.seen >= self._thresholds.hard_run and path.state != self.detector.condition:
            path.state, path.changed = self.detector.condition, received

    def row(self) -> tuple[Any, ...]:
        path = self.path
        sent, lost = self.detector.evidence(LOSS_WINDOW)
        path.loss_percent = round(100 * lost / sent, 2) if sent else None
        if self._rtts:
            path.rtt_us = min(round(statistics.median(self._rtts)), INT)
        path.detector = self.detector.to_json()
        detector = orjson.dumps(path.detector).decode()
        return path.pk, path.state, path.changed, path.heard, path.rtt_us, path.loss_percent, detector


def _ended(report: Report, received: datetime) -> datetime:
    """The end of its interval by the agent's clock, where that is believable; a Pi may boot without the time."""
    try:
        end = datetime.fromtimestamp(report.end / 1e6, UTC)
    except (ValueError, OverflowError, OSError):
        return received
    return end if received - timedelta(hours=24) <= end <= received + timedelta(minutes=1) else received


def partition_ensure(day: datetime) -> None:
    """The partition of PathMinute for the day (UTC) of this moment."""
    name = f"{day.astimezone(UTC):%Y-%m-%d}"
    if name in _partitions:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT netops_partition_ensure(%s::date)", [name])
    transaction.on_commit(lambda: _partitions.add(name))


def _store_minutes(minutes: dict[tuple[int, datetime], Minute]) -> None:
    """Add to the rows of these minutes, all in one statement. Nothing an agent says can overflow a column."""
    if not minutes:
        return
    for day in {minute.replace(hour=0, minute=0) for _, minute in minutes}:
        partition_ensure(day)
    names = ("sent", "received", "late", "duplicate", "reordered")
    # In one order in every transaction: two that meet wait for each other, and never in a circle.
    rows = sorted(minutes.items(), key=lambda item: item[0])
    columns: list[list[Any]] = [[path for (path, _), _ in rows], [minute for (_, minute), _ in rows]]
    columns += [[min(getattr(minute, name), INT) for _, minute in rows] for name in names]
    columns.append([b"".join(minute.rtts)[:MAX_MINUTE] for _, minute in rows])
    sums = ", ".join(f"{name} = LEAST(m.{name}::bigint + EXCLUDED.{name}, {INT})" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO probing_pathminute AS m (team_id, path_id, minute, {", ".join(names)}, rtts)
            SELECT %s, * FROM unnest(%s::bigint[], %s::timestamptz[], %s::int[], %s::int[], %s::int[], %s::int[],
                                     %s::int[], %s::bytea[])
            ON CONFLICT (team_id, path_id, minute) DO UPDATE SET {sums},
                rtts = CASE WHEN length(m.rtts) + length(EXCLUDED.rtts) <= {MAX_MINUTE}
                            THEN m.rtts || EXCLUDED.rtts ELSE m.rtts END
            """,
            [current_team_id(), *columns],
        )


def _store_paths(progress: list[_Progress]) -> None:
    if not progress:
        return
    columns = [list(column) for column in zip(*(each.row() for each in progress), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE probing_path p SET state = v.state, changed = v.changed, heard = v.heard, rtt_us = v.rtt_us,
                loss_percent = v.loss_percent, detector = v.detector::jsonb
            FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::float8[],
                        %s::text[]) AS v (id, state, changed, heard, rtt_us, loss_percent, detector)
            WHERE p.id = v.id AND p.team_id = %s
            """,
            [*columns, current_team_id()],
        )


def _announce(progress: list[_Progress]) -> None:
    """Open pages are told of a new state at once, of new figures once a second."""
    seconds = {each.heard.replace(microsecond=0) if each.heard else None for each in progress}
    now = {each.path.heard.replace(microsecond=0) for each in progress if each.path.heard}
    if any(each.state != each.path.state for each in progress) or not now <= seconds:
        publish(current_team_id(), "paths")
