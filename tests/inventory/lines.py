"""Lines as ExaBGP 5.0.15 writes them, for networks of our own making."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_counter = 0


def line(kind: str, neighbor: str) -> str:
    global _counter
    _counter += 1
    head = f'{{ "exabgp": "5.0.0", "time": 1795361120.89, "host" : "lab", "pid" : 1, "ppid" : 1, "counter": {_counter}'
    addresses = '"address": { "local": "127.0.0.1", "peer": "127.0.0.1" }, "asn": { "local": 65000, "peer": 65000 }'
    return f'{head}, "type": "{kind}", "neighbor": {{ {addresses}, {neighbor} }} }}'


def up() -> str:
    return line("state", '"state": "up"')


def down(reason: str = "peer reset") -> str:
    return line("state", f'"state": "down", "reason": {json.dumps(reason)}')


def end_of_rib() -> str:
    return line("update", '"direction": "receive", "message": { "eor": { "afi" : "bgp-ls", "safi" : "bgp-ls" } }')


@dataclass(frozen=True)
class Nlri:
    """One NLRI as JSON text, with the inside of its BGP-LS attribute."""

    text: str
    attribute: str = ""


def announce(*nlris: Nlri, error: str = "") -> str:
    """One update: all of them under the attribute of the first."""
    found = f'"error": "{error}"' if error else f'"bgp-ls": {{ {nlris[0].attribute} }}'
    listed = f'"announce": {{ "bgp-ls bgp-ls": {{ "192.0.2.1": [ {", ".join(n.text for n in nlris)} ] }} }}'
    update = f'"update": {{ "attribute": {{ "origin": "igp", {found} }}, {listed} }}'
    return line("update", f'"direction": "receive", "message": {{ {update} }}')


def withdraw(*nlris: Nlri) -> str:
    listed = f'"withdraw": {{ "bgp-ls bgp-ls": [ {", ".join(nlri.text for nlri in nlris)} ] }}'
    return line("update", f'"direction": "receive", "message": {{ "update": {{ {listed} }} }}')


def system(number: int) -> str:
    return f"{number:012d}"


def _descriptors(number: int) -> list[dict[str, Any]]:
    return [{"autonomous-system": 65000}, {"router-id": system(number)}]


def _nlri(kind: str, attribute: str = "", **more: Any) -> Nlri:
    fields = {"ls-nlri-type": kind, "l3-routing-topology": 0, "protocol-id": 2}
    return Nlri(json.dumps(fields | {key.replace("_", "-"): value for key, value in more.items()}), attribute)


def node(number: int, name: str = "") -> Nlri:
    attribute = f'"node-name": {json.dumps(name or f"R{number}")}, "local-te-router-ids": ["10.255.0.{number}"]'
    return _nlri("bgpls-node", attribute, node_descriptors=_descriptors(number))


def link(
    near: int,
    far: int,
    ends: tuple[str, str] | None = None,
    *,
    ids: tuple[int, int] | None = None,
    metric: int = 10,
    sids: Sequence[int] = (),
    delay: int | None = None,
) -> Nlri:
    """The half-link near→far; `ends` are its addresses (near, far), `ids` its RFC 5307 identifiers."""
    attribute = [f'"igp-metric": {metric}', *(f'"sr-adj": {{ "flags": {{}}, "sids": [{sid}] }}' for sid in sids)]
    if delay is not None:
        attribute.append(f'"generic-lsid-1114": ["0x{delay:08X}"]')
    return _nlri(
        "bgpls-link",
        ", ".join(attribute),
        local_node_descriptors=_descriptors(near),
        remote_node_descriptors=_descriptors(far),
        interface_addresses=[ends[0]] if ends else [],
        neighbor_addresses=[ends[1]] if ends else [],
        multi_topology_ids=[],
        link_identifiers=[{"link-local-id": ids[0], "link-remote-id": ids[1]}] if ids else [],
    )


def prefix(number: int, text: str, metric: int = 10) -> Nlri:
    return _nlri(
        "bgpls-prefix-v4",
        f'"prefix-metric": {metric}',
        node_descriptors=_descriptors(number),
        ip_reachability_tlv=text.partition("/")[0],
        ip_reach_prefix=text,
    )


def both(near: int, far: int, index: int = 0, metric: int = 10) -> list[Nlri]:
    """The two half-links of the numbered link `index` between two routers."""
    low, high = sorted((near, far))
    ends = (f"10.{low}.{high}.{2 * index}", f"10.{low}.{high}.{2 * index + 1}")
    return [link(low, high, ends, metric=metric), link(high, low, ends[::-1], metric=metric)]
