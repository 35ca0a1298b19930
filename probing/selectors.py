"""What the pages of paths read. Every function works on the team in scope."""

import struct
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from core.templatetags.shell import HEADROOM
from inventory.selectors import condition, half_links, link_incidents
from probing.models import Campaign, Path, PathMinute, minute_of

STATES = tuple(Path.State.values)
PATH_FIELDS = (
    "id", "role", "state", "out_names", "back_names", "rtt_us", "loss_percent", "changed", "heard", "target__name",
)  # fmt: skip
# A minute of the sparkline is so many points, each the mean of a few round trips.
SLICES, SAMPLES = 6, 16
COUNTERS = ("sent", "received", "late", "duplicate", "reordered")


def state_counts(role: str = Path.Role.PATH, **narrow: Any) -> dict[str, int]:
    """How many active paths are in each state, and `total`."""
    counts: dict[str, int] = (
        Path.objects.active()
        .filter(role=role, **narrow)
        .aggregate(total=Count("id"), **{state: Count("id", filter=Q(state=state)) for state in STATES})
    )
    return counts


def campaign_rows() -> list[dict[str, Any]]:
    """Campaigns with the number of their active paths in each state."""
    paths = {
        f"paths_{state}": Count("paths", filter=Q(paths__active=True, paths__role=Path.Role.PATH, paths__state=state))
        for state in STATES
    }
    rows = list(
        Campaign.objects.annotate(**paths)
        .order_by("name")
        .values("id", "name", "enabled", "agent__name", "rate", "planned", "notes", *paths)
    )
    for row in rows:
        row["counts"] = {state: row[f"paths_{state}"] for state in STATES}
        row["counts"]["total"] = sum(row["counts"].values())
    return rows


def path_rows(campaign_id: int, role: str) -> QuerySet[Any]:
    return Path.objects.active().filter(campaign_id=campaign_id, role=role)


def paths_over(half_link_ids: Iterable[int]) -> list[dict[str, Any]]:
    """The active paths, cover loops last, that use one of these half-links on the way out or back."""
    match = Q(pk__in=[])
    for each in half_link_ids:
        match |= Q(out__contains=[each]) | Q(back__contains=[each])
    return list(Path.objects.active().filter(match).order_by("-role", "id").values(*PATH_FIELDS)[:200])


def minutes_of(path_ids: Iterable[int], minutes: int) -> dict[int, dict[datetime, dict[str, Any]]]:
    """The rows of PathMinute of the last `minutes`: {path: {minute: row}}, in one query."""
    since = minute_of(timezone.now()) - timedelta(minutes=minutes - 1)
    found: dict[int, dict[datetime, dict[str, Any]]] = defaultdict(dict)
    for row in PathMinute.objects.filter(path_id__in=list(path_ids), minute__gte=since).values(
        "path_id", "minute", *COUNTERS, "rtts"
    ):
        found[row["path_id"]][row["minute"]] = row
    return found


def round_trips(rows: dict[datetime, dict[str, Any]], minutes: int, slices: int = SLICES) -> list[float | None]:
    """Mean round trips in ms over the last `minutes`, `slices` points a minute; None where nothing came back.

    The minute that runs has as many points as it is old; which probes of a minute were lost is not stored.
    """
    now = timezone.now()
    points: list[float | None] = []
    for back in range(minutes - 1, -1, -1):
        row = rows.get(minute_of(now) - timedelta(minutes=back))
        count = slices if back else max(1, slices * now.second // 60)
        points += _means(bytes(row["rtts"]), count) if row else [None] * count
    return points if any(point is not None for point in points) else []


def _means(packed: bytes, slices: int) -> list[float | None]:
    count = len(packed) // 2
    bounds = [count * index // slices for index in range(slices + 1)]
    means: list[float | None] = []
    for start, end in pairwise(bounds):
        taken = min(end - start, SAMPLES)
        values = struct.unpack_from(PathMinute.RTT_FORMAT.format(taken), packed, start * 2)
        means.append(sum(values) / taken if taken else None)
    return means


def with_history(rows: list[dict[str, Any]], minutes: int = 10) -> list[dict[str, Any]]:
    """Path rows with `history`, their round trips for a sparkline: one query for all of them."""
    found = minutes_of([row["id"] for row in rows], minutes)
    for row in rows:
        row["history"] = round_trips(found[row["id"]], _span(found[row["id"]], minutes))
    return rows


def _span(rows: dict[datetime, dict[str, Any]], most: int, least: int = 1) -> int:
    """How many minutes to show: as far back as there is anything, from `least` to `most`."""
    if not rows:
        return least
    age = int((minute_of(timezone.now()) - min(rows)).total_seconds() // 60) + 1
    return min(max(age, least), most)


def path_story(path: Path, minutes: int = 60) -> dict[str, Any]:
    """All that a path's page shows: `out` and `back` hop by hop, its minutes, their sums, open incidents on it."""
    halves = {half["id"]: half for half in half_links(id__in=[*path.out, *path.back])}
    open_ones = link_incidents()
    incidents = {}
    for half in halves.values():
        half["incident"] = incident = open_ones.get(half["link_id"])
        if incident:
            incidents[incident["id"]] = incident
        half["condition"] = condition("up" if half["up"] else "down", half["incident"])
    rows = minutes_of([path.pk], minutes)[path.pk]
    sums = {name: sum(row[name] for row in rows.values()) for name in COUNTERS}
    span = _span(rows, minutes, 5)
    history = round_trips(rows, span, 3 if span > 15 else 12)
    known = [value for value in history if value is not None]
    return {
        "out": [halves[each] for each in path.out if each in halves],
        "back": [halves[each] for each in path.back if each in halves],
        "incidents": list(incidents.values()),
        "minutes": _minutes(rows, span),
        "history": history,
        "top": max(known, default=0) * HEADROOM,
        "sums": sums,
        "loss": 100 * (1 - sums["received"] / sums["sent"]) if sums["sent"] else None,
        "fastest": min(known, default=None),
        "slowest": max(known, default=None),
    }


def _minutes(rows: dict[datetime, dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """One bar a minute, oldest first, for the chart of losses: its height `lost` (0 to 1) and its top `y`."""
    last = minute_of(timezone.now())
    shown = []
    for back in range(minutes - 1, -1, -1):
        row = rows.get(last - timedelta(minutes=back))
        lost = 1 - row["received"] / row["sent"] if row and row["sent"] else 0.0
        # Anything lost is seen: a single probe of 600 would be a bar of no height.
        lost = round(max(lost, 0.1), 3) if lost > 0 else 0.0
        shown.append({"lost": lost, "y": round(1 - lost, 3)})
    return shown
