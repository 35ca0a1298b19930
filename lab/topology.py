"""The topology file: loaded once, checked field by field, then immutable.

Shape: ``routers`` (name, isis_system_id), ``links`` (a, b, prefix, a_address, b_address; optionally igp_metric,
te_metric, bandwidth in bit/s, delay_us) and ``endpoints`` (name, address, gateway, attached_to).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

LOOPBACKS = IPv4Network("10.255.0.0/16")
MAX_ROUTERS = 1000
STUB_METRIC = 10

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SYSTEM_ID = re.compile(r"[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}")


class TopologyError(ValueError):
    """One sentence that names the field and what it should be."""


@dataclass(frozen=True)
class Router:
    name: str
    system_id: bytes  # 6 bytes, ISO 10589
    loopback: IPv4Address


@dataclass(frozen=True)
class Link:
    """``delay_us`` is what IS-IS announces (RFC 8570); the wire itself adds nothing unless told to."""

    a: str
    b: str
    prefix: IPv4Network
    a_address: IPv4Address
    b_address: IPv4Address
    igp_metric: int
    te_metric: int
    bandwidth: int  # bit/s
    delay_us: int


@dataclass(frozen=True)
class Endpoint:
    name: str
    address: IPv4Interface
    gateway: IPv4Address
    attached_to: str


@dataclass(frozen=True)
class Topology:
    routers: tuple[Router, ...]
    links: tuple[Link, ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def names(self) -> list[str]:
        """Of all nodes."""
        return [router.name for router in self.routers] + [endpoint.name for endpoint in self.endpoints]


def load(path: Path) -> Topology:
    """Read and check a topology file; raises TopologyError and nothing else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise TopologyError(f"cannot read topology file {path}: {reason}") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TopologyError(f"topology file {path} is not valid JSON: {error}") from None
    return parse(document)


def parse(document: object) -> Topology:
    """Check a decoded topology document; raises TopologyError."""
    if not isinstance(document, dict):
        raise TopologyError("topology must be an object with routers, links and endpoints")
    routers = tuple(_router(item, where, i) for i, (item, where) in enumerate(_items(document, "routers")))
    if not routers:
        raise TopologyError("routers must name at least one router")
    if len(routers) > MAX_ROUTERS:
        raise TopologyError(f"routers has {len(routers)} entries, at most {MAX_ROUTERS} fit in one lab")
    seen: dict[object, str] = {}
    for i, router in enumerate(routers):
        _once(seen, router.name, f"routers[{i}].name")
        _once(seen, router.system_id, f"routers[{i}].isis_system_id")
    names = {router.name for router in routers}
    links = tuple(_link(item, where, names) for item, where in _items(document, "links"))
    endpoints = tuple(_endpoint(item, where, names) for item, where in _items(document, "endpoints"))
    for i, link in enumerate(links):
        _once(seen, link.a_address, f"links[{i}].a_address")
        _once(seen, link.b_address, f"links[{i}].b_address")
    for i, endpoint in enumerate(endpoints):
        _once(seen, endpoint.name, f"endpoints[{i}].name")
        _once(seen, endpoint.address.ip, f"endpoints[{i}].address")
        _once(seen, endpoint.gateway, f"endpoints[{i}].gateway")
    _check_overlaps(links, endpoints)
    return Topology(routers, links, endpoints)


def _items(document: dict[str, Any], key: str) -> list[tuple[dict[str, Any], str]]:
    value = document.get(key)
    if not isinstance(value, list):
        raise TopologyError(f"{key} must be a list")
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise TopologyError(f"{key}[{i}] must be an object")
    return [(item, f"{key}[{i}]") for i, item in enumerate(value)]


def _router(item: dict[str, Any], where: str, index: int) -> Router:
    system_id = item.get("isis_system_id")
    if not isinstance(system_id, str) or not _SYSTEM_ID.fullmatch(system_id):
        raise TopologyError(f"{where}.isis_system_id must look like 0000.1000.0001, not {system_id!r}")
    return Router(_name(item, where, "name"), bytes.fromhex(system_id.replace(".", "")), LOOPBACKS[index + 1])


def _link(item: dict[str, Any], where: str, names: set[str]) -> Link:
    a, b = (_known(item, where, field, names) for field in ("a", "b"))
    if a == b:
        raise TopologyError(f"{where}.b must be another router than a, both are {a}")
    prefix = _ip(item, where, "prefix", IPv4Network, "an IPv4 prefix like 10.1.1.0/31")
    a_address, b_address = (
        _ip(item, where, field, IPv4Address, "an IPv4 address") for field in ("a_address", "b_address")
    )
    for field, address in (("a_address", a_address), ("b_address", b_address)):
        _check_host(f"{where}.{field}", address, prefix)
    igp_metric = _integer(item, where, "igp_metric", 10, 1, 2**24 - 2)  # RFC 5305: 24 bits, all ones is unusable
    return Link(
        a,
        b,
        prefix,
        a_address,
        b_address,
        igp_metric,
        te_metric=_integer(item, where, "te_metric", igp_metric, 0, 2**24 - 1),
        bandwidth=_integer(item, where, "bandwidth", 10_000_000_000, 1, 10**18),
        delay_us=_integer(item, where, "delay_us", 10, 0, 2**24 - 1),
    )


def _endpoint(item: dict[str, Any], where: str, names: set[str]) -> Endpoint:
    address = _ip(item, where, "address", IPv4Interface, "an IPv4 address with prefix length like 20.0.0.2/30")
    gateway = _ip(item, where, "gateway", IPv4Address, "an IPv4 address")
    _check_host(f"{where}.address", address.ip, address.network)
    _check_host(f"{where}.gateway", gateway, address.network)
    return Endpoint(_name(item, where, "name"), address, gateway, _known(item, where, "attached_to", names))


def _name(item: dict[str, Any], where: str, field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise TopologyError(f"{where}.{field} must be 1 to 63 letters, digits, dots or dashes, not {value!r}")
    return value


def _known(item: dict[str, Any], where: str, field: str, names: set[str]) -> str:
    value = item.get(field)
    if not isinstance(value, str) or value not in names:
        raise TopologyError(f"{where}.{field} must name one of the routers, not {value!r}")
    return value


def _ip(item: dict[str, Any], where: str, field: str, kind: Callable[[str], T], what: str) -> T:
    value = item.get(field)
    try:
        if isinstance(value, str):
            return kind(value)
    except ValueError:
        pass
    raise TopologyError(f"{where}.{field} must be {what}, not {value!r}")


def _integer(item: dict[str, Any], where: str, field: str, default: int, low: int, high: int) -> int:
    value = item.get(field, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TopologyError(f"{where}.{field} must be a whole number from {low} to {high}, not {value!r}")
    return value


def _check_host(where: str, address: IPv4Address, prefix: IPv4Network) -> None:
    edges = () if prefix.prefixlen >= 31 else (prefix.network_address, prefix.broadcast_address)
    if address not in prefix or address in edges:
        raise TopologyError(f"{where} must be a host address inside {prefix}, not {address}")
    if address.is_multicast or address.is_loopback or address.is_unspecified:
        raise TopologyError(f"{where} must be a unicast address, not {address}")


def _once(seen: dict[object, str], value: object, where: str) -> None:
    if value in seen:
        raise TopologyError(f"{where} repeats {seen[value]}, each must be unique")
    seen[value] = where


def _check_overlaps(links: tuple[Link, ...], endpoints: tuple[Endpoint, ...]) -> None:
    prefixes = [(LOOPBACKS, f"the loopback range {LOOPBACKS}")]
    prefixes += [(link.prefix, f"links[{i}].prefix") for i, link in enumerate(links)]
    prefixes += [(endpoint.address.network, f"endpoints[{i}].address") for i, endpoint in enumerate(endpoints)]
    prefixes.sort()
    for (first, its_field), (second, field) in pairwise(prefixes):
        if first.overlaps(second):
            raise TopologyError(f"{field} {second} overlaps {its_field}, every link and end host needs its own prefix")
