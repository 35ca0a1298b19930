"""The graph of the team in scope, and the paths between what people call by name. Loads networkx."""

import difflib
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from django.db.models import F, Q

from core.scope import current_team_id
from inventory import paths
from inventory.models import Device, Endpoint, HalfLink, Prefix, Topology
from inventory.paths import Graph, PathError

KEPT = 16
POLICIES = ("all", "all_shortest", "k_shortest", "within_hops")
DEFAULT_VALUE = {"k_shortest": 3, "within_hops": 2}
_kept: OrderedDict[int, tuple[tuple[int, datetime | None], Graph]] = OrderedDict()
_lock = Lock()


def load_graph() -> tuple[int, Graph]:
    """The version of the team's topology and its graph; kept per process until the version changes. Do not change it.

    Nodes are Device ids, edge keys Link ids; the attribute `half_link` is the HalfLink id (see inventory.paths).
    """
    team = current_team_id()
    # The version first: what is newer than it only makes us look again. With its time, because a version that was
    # rolled back comes again with other content.
    stamp = Topology.objects.values_list("version", "changed").first() or (0, None)
    with _lock:
        kept = _kept.get(team)
    if kept and kept[0] == stamp:
        return stamp[0], kept[1]
    fields = ("device_id", "remote_device_id", "local_address", "remote_address", "igp_metric", "delay_us", "link_id")
    rows = HalfLink.objects.filter(up=True).order_by("id").values_list(*fields, "id")
    half_links = (
        paths.HalfLink(near, far, local or "", remote or "", metric, delay, True, link, pk)
        for near, far, local, remote, metric, delay, link, pk in rows
    )
    learned = Device.objects.filter(source__isnull=False)
    graph = paths.build_graph(half_links, learned.values_list("id", flat=True))
    if stamp[1] is None:
        return stamp[0], graph
    with _lock:
        _kept[team] = stamp, graph
        _kept.move_to_end(team)
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    return stamp[0], graph


def endpoint_device(endpoint: Endpoint) -> Device | None:
    """The device that announces the longest prefix around the endpoint's address; the cheapest where several do."""
    address = ipaddress.ip_address(endpoint.address)
    around = [str(ipaddress.ip_network((address, bits), strict=False)) for bits in range(address.max_prefixlen + 1)]
    found = list(Prefix.objects.filter(prefix__in=around, up=True).select_related("device"))
    if not found:
        return None
    best = min(found, key=lambda each: (-int(each.prefix.rpartition("/")[2]), each.metric, each.device_id))
    device: Device = best.device
    return device


@dataclass(frozen=True)
class End:
    """Where paths start or end: an endpoint behind its device, or a device itself (then `endpoint` is None)."""

    name: str
    device: Device
    endpoint: Endpoint | None


@dataclass(frozen=True)
class Route:
    """One path: the names along it, ends included, its HalfLink ids, and the sum of its IGP metrics."""

    hops: list[str]
    half_links: list[int]
    cost: int


@dataclass(frozen=True)
class Routes:
    """`count` is exact unless `truncated`, and for `all_shortest` always."""

    version: int
    source: End
    target: End
    routes: list[Route]
    count: int
    truncated: bool


class UnknownName(PathError):
    """No endpoint or device has this name; `field` is the question it stood in."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def find_end(name: str, field: str = "name") -> End:
    """The endpoint or device of this name, in that order. Raises UnknownName with the names that come near."""
    if not name.isprintable() or len(name) > 120:
        raise UnknownName(field, "A name is at most 120 characters that can be printed.")
    if endpoint := Endpoint.objects.filter(name=name).first():
        device = endpoint_device(endpoint)
        if device is None:
            raise UnknownName(field, f"{name} ({endpoint.address}) is behind no prefix that a device announces.")
        return End(name, device, endpoint)
    by_name = Q(name=name) | Q(igp_router_id=name)
    if device := Device.objects.filter(by_name).order_by(F("source_id").asc(nulls_last=True), "-up", "id").first():
        if device.source_id is None:
            raise UnknownName(field, f"{name} was only written down: no topology source has told of it.")
        return End(device.name, device, None)
    known = [*Endpoint.objects.values_list("name", flat=True), *Device.objects.values_list("name", flat=True)]
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "the tables of devices and endpoints list all names."
    raise UnknownName(field, f"No endpoint or device is called {name!r}: {hint}")


def find_paths(
    source: str, target: str, policy: str = "all", value: int | None = None, cap: int = paths.LIMIT
) -> Routes:
    """Paths between two names, best first, at most `cap`.

    `policy` is one of POLICIES; `value` is k for k_shortest and the extra links for within_hops. Raises PathError.
    """
    search = _search(policy, value)
    if cap < 1:
        raise PathError("The cap must be 1 or more.")
    start, end = find_end(source, "source"), find_end(target, "target")
    version, graph = load_graph()
    found = search(graph, start.device.pk, end.device.pk, cap)
    names = dict(Device.objects.values_list("id", "name"))
    routes = [_route(graph, path, start, end, names) for path in found.paths]
    return Routes(version, start, end, routes, found.count, found.truncated)


def _search(policy: str, value: int | None) -> Callable[[Graph, int, int, int], paths.PathSet]:
    if policy not in POLICIES:
        raise PathError(f"{policy[:60]!r} is not a policy: use one of {', '.join(POLICIES)}.")
    amount = DEFAULT_VALUE.get(policy, 0) if value is None else value
    if amount < (1 if policy == "k_shortest" else 0):
        raise PathError(f"The value of {policy} cannot be {amount}.")
    match policy:
        case "all_shortest":
            return paths.all_shortest
        case "k_shortest":
            return lambda graph, u, v, cap: paths.k_shortest(graph, u, v, amount, cap)
        case "within_hops":
            return lambda graph, u, v, cap: paths.within_hops(graph, u, v, amount, cap)
    return paths.all_simple


def _route(graph: Graph, path: paths.Path, start: End, end: End, names: dict[int, str]) -> Route:
    nodes = paths.path_nodes(path) or [start.device.pk]
    hops = [names.get(node, str(node)) for node in nodes if isinstance(node, int)]
    if start.endpoint:
        hops.insert(0, start.name)
    if end.endpoint:
        hops.append(end.name)
    edges = [graph.edges[edge] for edge in path]
    return Route(hops, [edge["half_link"] for edge in edges], sum(edge["metric"] for edge in edges))
