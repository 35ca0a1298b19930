"""What the pages of the network read. Every function works on the team in scope."""

import re
from collections import defaultdict
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from core.listing import as_rows
from inventory.models import Device, HalfLink, Interface, Link, Topology, TopologyEvent, TopologySource
from ticketing.models import Incident

DEVICE_FIELDS = (
    "id", "name", "router_id", "igp_router_id", "up", "source_id", "site__name", "role__name", "changed", "links",
    "links_up",
)  # fmt: skip
LINK_FIELDS = (
    "id", "name", "state", "changed", "a_device_id", "a_device__name", "z_device_id", "z_device__name",
)  # fmt: skip
HALF_FIELDS = (
    "id", "link_id", "device_id", "device__name", "remote_device_id", "remote_device__name", "local_address",
    "remote_address", "igp_metric", "te_metric", "max_bandwidth", "delay_us", "adjacency_sids", "up", "changed",
)  # fmt: skip


def device_rows() -> QuerySet[Any]:
    """Devices with how many half-links they have and how many of these are up, counted for the rows asked for alone."""
    halves = (
        HalfLink.objects.filter(device=OuterRef("pk")).order_by().values("device").annotate(n=Count("pk")).values("n")
    )
    return Device.objects.annotate(
        links=Coalesce(Subquery(halves), 0), links_up=Coalesce(Subquery(halves.filter(up=True)), 0)
    )


def link_rows() -> QuerySet[Any]:
    return Link.objects.all()


def half_links(**narrow: Any) -> list[dict[str, Any]]:
    """Half-links as rows, those of one link in the order of their devices."""
    rows = HalfLink.objects.filter(**narrow).order_by("link__sort_key", "device__sort_key", "id")
    return as_rows(rows.values(*HALF_FIELDS))


def link_incidents() -> dict[int, dict[str, Any]]:
    """The worst open incident of each link that has one; one incident may hold several links that it cannot tell apart.

    {link id: id, title, severity, opened, and `direction` where only one is bad, as `R2→R4`}
    """
    rows = Incident.objects.open().filter(kind="link").order_by("-severity", "-opened")
    found = {}
    for row in as_rows(rows.values("id", "element", "title", "severity", "evidence", "causes", "opened")):
        row["direction"] = _direction(row)
        for number in re.findall(r"\blink:(\d+)", row["element"]):
            found[int(number)] = row
    return found


def _direction(incident: dict[str, Any]) -> str:
    for source in incident["causes"]:
        held = incident["evidence"].get(source)
        if isinstance(held, dict) and "→" in (direction := str(held.get("direction", ""))):
            return direction
    return ""


def condition(state: str, incident: dict[str, Any] | None) -> str:
    """What is wrong with a link, the worst first: `down` (by routing), `fault` or `degraded` (by probes), `up`; or
    `unlearned` where it was only written down."""
    if state == Link.State.UNKNOWN:
        return "unlearned"
    if state == Link.State.DOWN:
        return "down"
    if incident:
        return "fault" if incident["severity"] == Incident.Severity.CRITICAL else "degraded"
    return "up"


def with_halves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Link rows with their half-links `halves`, open `incident` and `condition`: two queries for all of them."""
    ids = [row["id"] for row in rows]
    incidents = link_incidents()
    halves: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for half in half_links(link_id__in=ids):
        halves[half["link_id"]].append(half)
    for row in rows:
        incident = incidents.get(row["id"])
        ends = {half["device_id"]: half for half in halves[row["id"]]}
        row |= {
            "halves": halves[row["id"]],
            "a": ends.get(row["a_device_id"]),
            "z": ends.get(row["z_device_id"]),
            "incident": incident,
            "condition": condition(row["state"], incident),
        }
    return rows


def link_conditions() -> list[dict[str, Any]]:
    """Every link's id, name and condition, in the order of names: two queries."""
    incidents = link_incidents()
    rows = as_rows(link_rows().order_by("sort_key", "id").values("id", "name", "state"))
    for row in rows:
        row["condition"] = condition(row["state"], incidents.get(row["id"]))
    return rows


def written_ports(device_id: int) -> list[dict[str, Any]]:
    """Interfaces of a device that announce no half-link, each with the written-down `link` that ends at it or None."""
    announced = HalfLink.objects.filter(device_id=device_id).values("interface_id")
    rows = Interface.objects.filter(device_id=device_id).exclude(pk__in=announced).order_by("name")
    ports = as_rows(rows.values("id", "name", "address"))
    written = Link.objects.filter(Q(a_device_id=device_id) | Q(z_device_id=device_id), learned=False)
    ends: dict[int, dict[str, Any]] = {}
    for link in as_rows(written.values("id", "name", "state", "a_interface_id", "z_interface_id")):
        ends |= {link["a_interface_id"]: link, link["z_interface_id"]: link}
    for port in ports:
        port["link"] = ends.get(port["id"])
    return ports


def sources() -> list[dict[str, Any]]:
    return as_rows(
        TopologySource.objects.order_by("name").values(
            "id", "name", "host", "port", "enabled", "state", "problem", "heard", "synced"
        )
    )


def events(limit: int = 10, **narrow: Any) -> list[dict[str, Any]]:
    """The newest topology events first; those of prefixes only where a device or link is asked for."""
    rows = TopologyEvent.objects.filter(**narrow).order_by("-at", "-id")
    if not narrow:
        rows = rows.exclude(kind__startswith="prefix")
    return as_rows(rows.values("id", "at", "kind", "text", "device_id", "link_id", "version")[:limit])


def network_summary() -> dict[str, Any]:
    """Counts of learned devices, links and half-links, each with how many are up, and the version of the graph.

    A link counts as up while routing has it and no open incident names it.
    """
    learned = Device.objects.filter(source__isnull=False)
    devices = learned.aggregate(total=Count("id"), up=Count("id", filter=Q(up=True)))
    well = Q(state=Link.State.UP) & ~Q(pk__in=list(link_incidents()))
    links = Link.objects.exclude(state=Link.State.UNKNOWN).aggregate(total=Count("id"), up=Count("id", filter=well))
    halves = HalfLink.objects.aggregate(total=Count("id"), up=Count("id", filter=Q(up=True)))
    topology = Topology.objects.values("version", "changed").first() or {"version": 0, "changed": None}
    return {"devices": devices, "links": links, "half_links": halves, **topology}
