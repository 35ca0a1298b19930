"""What `/metrics` says, for netops/metrics.py; apart from it because only who asks should pay for prometheus_client.

Everything but the process's own numbers comes from the database and Valkey, so that each web process says the same.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.models import STATUSES
from core import roles
from inventory.models import Link, TopologySource
from netops.metrics import BOUNDS_S, Times
from probing.models import Path
from ticketing.models import Incident

# What netops_totals() counts: its family there, the metric's help, its label and the values that are always shown.
_INBOXES = ("topology", "reports", "tickets")
_FAMILIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "teams": ("Teams of this installation.", "", ("",)),
    "devices": ("Devices of all teams, by what routing says of them.", "state", ("up", "down", "written_down")),
    "links": ("Links of all teams, by what routing says of them.", "state", tuple(Link.State.values)),
    "sources": ("Enabled BGP-LS sources, by state.", "state", tuple(TopologySource.State.values)),
    "agents": ("Agents of all teams, by when they were heard.", "state", STATUSES),
    "campaigns": ("Campaigns.", "state", ("enabled", "disabled")),
    "paths": ("Paths that are probed, by what probes say of them.", "state", tuple(Path.State.values)),
    "incidents_open": ("Open incidents.", "severity", tuple(Incident.Severity.values)),
    "ticket_operations": ("What desks are still to be told, or refuse.", "state", ("pending", "dead")),
    "due_keys": ("Keys with work waiting, by drain.", "drain", (*_INBOXES, "plans")),
    "inbox_rows": ("Rows that wait in an inbox.", "inbox", _INBOXES),
    "inbox_oldest": ("Age of the row that has waited longest.", "inbox", _INBOXES),
}
_UNITS = {"inbox_oldest": "seconds"}


def exposition(accept: str, times: Times) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics for who accepts it, else Prometheus' text format 0.0.4."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Installation(times))
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


class Installation(Collector):
    """`times`: how long requests took, as the answering process saw it."""

    def __init__(self, times: Times) -> None:
        self.times = times

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("netops", "This installation.", {"version": settings.VERSION})
        yield from self._valkey()
        yield from self._database()
        yield self._durations()

    def _valkey(self) -> Iterable[Metric]:
        try:
            processes, waiting = roles.processes(), roles.tasks_waiting()
        except redis.RedisError:
            yield _gauge("valkey_up", "Whether Valkey answers.", 0)
            return
        yield _gauge("valkey_up", "Whether Valkey answers.", 1)
        running = GaugeMetricFamily("netops_role_processes", "Processes seen in the last 15 seconds.", labels=["role"])
        for role, count in processes.items():
            running.add_metric([role], count)
        yield running
        yield _gauge("celery_queue_length", "Nudges that wait for a worker.", waiting)

    def _database(self) -> Iterable[Metric]:
        totals: dict[str, dict[str, float]] = defaultdict(dict)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT family, label, value FROM netops_totals()")
                for family, label, value in cursor.fetchall():
                    totals[family][label] = value
                cursor.execute("SELECT pg_database_size(current_database())")
                (size,) = cursor.fetchone()
        except DatabaseError:
            yield _gauge("database_up", "Whether PostgreSQL answers.", 0)
            return
        yield _gauge("database_up", "Whether PostgreSQL answers.", 1)
        yield _gauge("database_size", "What the database takes on disk.", size, unit="bytes")
        for family, (text, label, always) in _FAMILIES.items():
            metric = GaugeMetricFamily(
                f"netops_{family}", text, labels=[label] if label else [], unit=_UNITS.get(family, "")
            )
            for name, value in (dict.fromkeys(always, 0.0) | totals[family]).items():
                metric.add_metric([name] if label else [], value)
            yield metric

    def _durations(self) -> Metric:
        metric = HistogramMetricFamily(
            "netops_http_request_duration",
            "Time until the answer began, of requests to the process that answers this.",
            labels=["door", "code"],
            unit="seconds",
        )
        for (door, code), (counts, total) in self.times.seen():
            running, buckets = 0, []
            for bound, count in zip((*BOUNDS_S, "+Inf"), counts, strict=True):
                running += count
                buckets.append((str(bound), running))
            metric.add_metric([door, code], buckets, total)
        return metric


def _gauge(name: str, text: str, value: float, **more: Any) -> Metric:
    return GaugeMetricFamily(f"netops_{name}", text, value=value, **more)
