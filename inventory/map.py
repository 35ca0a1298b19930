"""The topology map: what is drawn, where, and in what condition."""

import ipaddress
from functools import lru_cache
from typing import Any

from django.urls import reverse

from core.listing import as_rows
from core.scope import current_team_id
from inventory.layout import place
from inventory.models import Device, Endpoint, HalfLink, Link, Prefix, Topology
from inventory.selectors import condition, link_incidents

SPACING = 150


def map_of(slug: str) -> dict[str, Any]:
    """The map as JSON: `version`, `nodes` (id, kind, label, x, y, up, url, of devices
    also learned) and `edges` (id, source, target, label,
    condition, word, direction, url); the ids are stable, so that an open map moves nothing that stays."""
    topology = Topology.objects.values_list("version", flat=True).first() or 0
    devices = list(Device.objects.order_by("sort_key", "id").values("id", "name", "up", "source_id"))
    links = as_rows(Link.objects.order_by("sort_key", "id").values("id", "name", "state", "a_device_id", "z_device_id"))
    endpoints = _attached()
    edges = [(f"d{link['a_device_id']}", f"d{link['z_device_id']}") for link in links]
    edges += [(f"d{end['device_id']}", f"e{end['id']}") for end in endpoints if end["device_id"]]
    names = (*(f"e{end['id']}" for end in endpoints if end["device_id"]), *(f"d{each['id']}" for each in devices))
    spots = _places(current_team_id(), topology, names, tuple(sorted(set(edges))))
    nodes = [_node(f"d{each['id']}", "device", each["name"], each["up"], spots) for each in devices]
    for node, each in zip(nodes, devices, strict=True):
        node["learned"] = each["source_id"] is not None
        node["url"] = reverse("device", args=[slug, each["id"]])
    nodes += [_node(f"e{end['id']}", "endpoint", end["name"], True, spots) for end in endpoints if end["device_id"]]
    return {"version": topology, "nodes": nodes, "edges": [*_link_edges(slug, links), *_stubs(endpoints)]}


def _node(key: str, kind: str, label: str, up: bool, spots: dict[str, tuple[float, float]]) -> dict[str, Any]:
    x, y = spots[key]
    return {"id": key, "kind": kind, "label": label, "up": up, "x": x * SPACING, "y": y * SPACING, "url": ""}


WORDS = {"up": "", "down": "down", "fault": "fault", "degraded": "degraded", "unlearned": "not learned"}


def _link_edges(slug: str, links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    incidents = link_incidents()
    one_way = _half_down()
    edges = []
    for link in links:
        incident = incidents.get(link["id"])
        state = condition(link["state"], incident)
        edges.append(
            {
                "id": f"l{link['id']}",
                "source": f"d{link['a_device_id']}",
                "target": f"d{link['z_device_id']}",
                "label": link["name"],
                "condition": state,
                "word": WORDS[state],
                "direction": (incident or {}).get("direction", "") or one_way.get(link["id"], ""),
                "url": reverse("link", args=[slug, link["id"]]),
            }
        )
    return edges


def _half_down() -> dict[int, str]:
    """Links of which routing withdrew only one direction, and which."""
    rows = HalfLink.objects.values_list("link_id", "up", "device__name", "remote_device__name")
    up = {link for link, is_up, *_ in rows if is_up}
    return {link: f"{a}→{z}" for link, is_up, a, z in rows if not is_up and link in up}


def _stubs(endpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"s{end['id']}",
            "source": f"d{end['device_id']}",
            "target": f"e{end['id']}",
            "label": "",
            "condition": "stub",
            "word": "",
            "direction": "",
            "url": "",
        }
        for end in endpoints
        if end["device_id"]
    ]


def _attached() -> list[dict[str, Any]]:
    """End points with the device that announces the longest prefix around each; None where nobody does."""
    prefixes = []
    for text, device in Prefix.objects.filter(up=True).values_list("prefix", "device_id"):
        network = ipaddress.ip_network(text, strict=False)
        prefixes.append((network.prefixlen, network, device))
    prefixes.sort(key=lambda each: -each[0])
    rows = as_rows(Endpoint.objects.order_by("sort_key", "id").values("id", "name", "address"))
    for row in rows:
        address = ipaddress.ip_address(row["address"])
        row["device_id"] = next((device for _, network, device in prefixes if address in network), None)
    return rows


@lru_cache(maxsize=32)
def _places(
    team_id: int, version: int, nodes: tuple[str, ...], edges: tuple[tuple[str, str], ...]
) -> dict[str, tuple[float, float]]:
    neighbours: dict[str, set[str]] = {node: set() for node in nodes}
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    return place(nodes, neighbours)
