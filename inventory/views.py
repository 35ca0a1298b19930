"""Pages of the network: map, devices, links."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from core.listing import Column, Listing
from core.views import page
from inventory import panels, selectors
from inventory.map import map_of
from inventory.models import Device, Link, Prefix

DEVICE_COLUMNS = (
    Column("Device", "name", "sort_key"),
    Column("State", "state", "up"),
    Column("Site", "site", "site__sort_key"),
    Column("Role", "role", "role__sort_key"),
    Column("Router ID", "router_id", "router_id"),
    Column("IGP router ID", "igp", "igp_router_id"),
    Column("Half-links up", "links", "links_up", "num"),
    Column("Changed", "changed", "changed"),
)
LINK_COLUMNS = (
    Column("Link", "name", "sort_key"),
    Column("State", "state", "state"),
    Column("From", "a", "a_device__sort_key"),
    Column("To", "z", "z_device__sort_key"),
    Column("IGP metric", look="num"),
    Column("Delay", look="num"),
    Column("Changed", "changed", "changed"),
)
STATES = ("up", "down", "unlearned")


@require_safe
def topology(request: HttpRequest, slug: str) -> HttpResponse:
    links = selectors.link_conditions()
    context = {
        "section": "topology",
        "links": links,
        "devices": list(Device.objects.order_by("sort_key", "id").values("id", "name", "up", "source_id")),
        "network": selectors.network_summary(),
        "troubled": [link for link in links if link["condition"] not in ("up", "unlearned")],
    }
    return page(request, "inventory/topology.html", context, "inventory/_topology_list.html")


@require_safe
def topology_data(request: HttpRequest, slug: str) -> HttpResponse:
    return JsonResponse(map_of(slug))


@require_safe
def devices(request: HttpRequest, slug: str) -> HttpResponse:
    listing = Listing(request, DEVICE_COLUMNS, ("name", "igp_router_id", "router_id"), {"state": STATES})
    rows = selectors.device_rows()
    if chosen := listing.chosen.get("state"):
        learned = chosen != "unlearned"
        rows = rows.filter(source__isnull=not learned, **({"up": chosen == "up"} if learned else {}))
    listing.fill(rows, *selectors.DEVICE_FIELDS)
    return page(request, "inventory/devices.html", _listed("devices", listing), "inventory/_devices.html")


@require_safe
def links(request: HttpRequest, slug: str) -> HttpResponse:
    search = ("name", "half_links__local_address")
    listing = Listing(request, LINK_COLUMNS, search, {"state": STATES})
    rows = selectors.link_rows()
    if chosen := listing.chosen.get("state"):
        rows = rows.filter(state=Link.State.UNKNOWN if chosen == "unlearned" else chosen)
    listing.fill(rows.distinct() if listing.q else rows, *selectors.LINK_FIELDS)
    selectors.with_halves(listing.rows)
    return page(request, "inventory/links.html", _listed("links", listing), "inventory/_links.html")


def _listed(section: str, listing: Listing) -> dict[str, Any]:
    return {"section": section, "listing": listing}


_FACTS = ("source", "site", "role", "device_type__manufacturer", "platform")


@require_safe
def device(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Device.objects.select_related(*_FACTS), pk=pk)
    halves = selectors.half_links(device_id=pk)
    open_ones = selectors.link_incidents()
    incidents = {half["link_id"]: open_ones[half["link_id"]] for half in halves if half["link_id"] in open_ones}
    for half in halves:
        half["incident"] = incidents.get(half["link_id"])
        half["condition"] = selectors.condition("up" if half["up"] else "down", half["incident"])
    ports = selectors.written_ports(pk)
    context = {
        "section": "devices",
        "device": shown,
        "halves": halves,
        "ports": ports,
        "interfaces": len(halves) + len(ports),
        "incidents": list({each["id"]: each for each in incidents.values()}.values()),
        "prefixes": list(
            Prefix.objects.filter(device=shown).order_by("prefix").values("prefix", "metric", "up", "changed")
        ),
        "events": selectors.events(12, device_id=pk),
        "panels": [panel(shown) for panel in panels.device_panels],
    }
    return page(request, "inventory/device.html", context, "inventory/_device.html")


@require_safe
def link(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Link.objects.select_related("a_device", "z_device", "a_interface", "z_interface"), pk=pk)
    halves = selectors.half_links(link_id=pk)
    incident = selectors.link_incidents().get(pk)
    context = {
        "section": "links",
        "link": shown,
        "halves": halves,
        "incident": incident,
        "condition": selectors.condition(shown.state, incident),
        "events": selectors.events(12, link_id=pk),
        "panels": [panel(shown) for panel in panels.link_panels],
    }
    return page(request, "inventory/link.html", context, "inventory/_link.html")
