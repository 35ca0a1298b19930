"""The lab as it runs: nodes in namespaces, wires between them, and what routing and BGP-LS know of their faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from socket import IPPROTO_GRE

from lab import bgpls
from lab.decap import Decapsulator
from lab.namespace import Namespace
from lab.routing import Adjacency, Announcement, Routes, routes
from lab.topology import STUB_METRIC, Link, Topology
from lab.wire import Direction, Pump

ASN = 65000
FIRST_LABEL = 24000
DEFAULT = IPv4Network("0.0.0.0/0")


class UnknownName(ValueError):
    """No node or no wire of that name; one sentence."""


class Node:
    """A router or end host."""

    def __init__(self, pump: Pump) -> None:
        self.namespace = Namespace()
        self.interfaces = 0
        self.installed: Routes = {}
        raw = self.namespace.raw_socket(IPPROTO_GRE)
        tun, _index = self.namespace.tun("decap0")
        self.decapsulator = Decapsulator(raw, tun)
        pump.add(raw.fileno(), self.decapsulator.forward)

    def interface(self, address: IPv4Interface) -> tuple[int, int]:
        fd, index = self.namespace.tun(f"eth{self.interfaces}", address)
        self.interfaces += 1
        return fd, index


@dataclass(frozen=True)
class Wire:
    """``link`` is None for the wire of an end host (``b`` is its router then)."""

    a: str
    b: str
    a_address: IPv4Address
    b_address: IPv4Address
    a_index: int
    b_index: int
    forward: Direction
    back: Direction
    link: Link | None

    @property
    def down(self) -> bool:
        return self.forward.announced and self.back.announced

    def direction(self, reverse: bool) -> Direction:
        return self.back if reverse else self.forward


class Network:
    """Builds the whole lab. Raises LabUnavailable or OSError where the machine cannot."""

    def __init__(self, topology: Topology, pump: Pump) -> None:
        self.topology = topology
        self.nodes = {name: Node(pump) for name in topology.names}
        for router in topology.routers:
            namespace = self.nodes[router.name].namespace
            namespace.rtnl.address_add(namespace.loopback, IPv4Interface(router.loopback))
        self.wires = [
            self._wire(pump, link.a, link.b, link.a_address, link.b_address, link.prefix, link)
            for link in topology.links
        ]
        for endpoint in topology.endpoints:
            ends = endpoint.name, endpoint.attached_to, endpoint.address.ip, endpoint.gateway
            self.wires.append(self._wire(pump, *ends, endpoint.address.network, None))
        self.converge()

    def _wire(
        self,
        pump: Pump,
        a: str,
        b: str,
        a_address: IPv4Address,
        b_address: IPv4Address,
        prefix: IPv4Network,
        link: Link | None,
    ) -> Wire:
        a_fd, a_index = self.nodes[a].interface(IPv4Interface((a_address, prefix.prefixlen)))
        b_fd, b_index = self.nodes[b].interface(IPv4Interface((b_address, prefix.prefixlen)))
        forward, back = Direction(a_fd, b_fd, pump), Direction(b_fd, a_fd, pump)
        pump.add(a_fd, forward.forward)
        pump.add(b_fd, back.forward)
        return Wire(a, b, a_address, b_address, a_index, b_index, forward, back, link)

    def find(self, a: str, b: str) -> list[tuple[Wire, bool]]:
        """Wires between two nodes, each with whether it runs b -> a; a node is given by name or interface address."""
        found = []
        for wire in self.wires:
            ends = {wire.a, str(wire.a_address)}, {wire.b, str(wire.b_address)}
            if a in ends[0] and b in ends[1]:
                found.append((wire, False))
            elif b in ends[0] and a in ends[1]:
                found.append((wire, True))
        if found:
            return found
        for name in (a, b):
            if name not in self.nodes and all(name not in (str(w.a_address), str(w.b_address)) for w in self.wires):
                raise UnknownName(f"there is no node or interface {name} in this lab, it has {', '.join(self.nodes)}")
        raise UnknownName(f"there is no link between {a} and {b} in this lab")

    def converge(self) -> None:
        """Bring interfaces and every node's routes in line with what is announced."""
        for wire in self.wires:
            for name, index in ((wire.a, wire.a_index), (wire.b, wire.b_index)):
                self._interface_set(self.nodes[name], index, up=not wire.down)
        wanted = routes((router.name for router in self.topology.routers), self._adjacencies(), self._announcements())
        for wire in self.wires:
            if wire.link is None and not wire.down:
                wanted[wire.a] = {DEFAULT: frozenset([(wire.b_address, wire.a_index)])}
        for name, node in self.nodes.items():
            self._install(node, wanted.get(name, {}))

    def _interface_set(self, node: Node, index: int, *, up: bool) -> None:
        node.namespace.rtnl.link_set(index, up=up)
        if not up:  # the kernel has dropped these routes, or some of their hops
            for prefix, hops in node.installed.items():
                if any(hop_index == index for _gateway, hop_index in hops):
                    node.installed[prefix] = frozenset()

    def _install(self, node: Node, wanted: Routes) -> None:
        for prefix in node.installed.keys() - wanted.keys():
            with suppress(ProcessLookupError):  # gone with its interface
                node.namespace.rtnl.route_delete(prefix)
        for prefix, hops in wanted.items():
            if node.installed.get(prefix) != hops:
                node.namespace.rtnl.route_replace(prefix, hops)
        node.installed = wanted

    def _adjacencies(self) -> Iterator[Adjacency]:
        """Both half-links must be announced (ISO 10589's two-way check)."""
        for wire in self.wires:
            if wire.link is not None and not wire.forward.announced and not wire.back.announced:
                yield Adjacency(wire.a, wire.b, wire.link.igp_metric, (wire.b_address, wire.a_index))
                yield Adjacency(wire.b, wire.a, wire.link.igp_metric, (wire.a_address, wire.b_index))

    def _announcements(self) -> Iterator[Announcement]:
        for router in self.topology.routers:
            yield Announcement(router.name, IPv4Network(router.loopback), 0)
        for wire in self.wires:
            if wire.down:
                continue
            if wire.link is not None:
                yield Announcement(wire.a, wire.link.prefix, wire.link.igp_metric)
                yield Announcement(wire.b, wire.link.prefix, wire.link.igp_metric)
        for endpoint, wire in zip(self.topology.endpoints, self.wires[len(self.topology.links) :], strict=True):
            if not wire.down:
                yield Announcement(endpoint.attached_to, endpoint.address.network, STUB_METRIC)

    def link_state(self) -> dict[bytes, bytes]:
        """What BGP-LS announces now: NLRI -> attributes."""
        routers = {router.name: router for router in self.topology.routers}
        table = {bgpls.node_nlri(ASN, router): bgpls.node_attributes(router) for router in routers.values()}
        for label, wire in enumerate(self.wires, FIRST_LABEL):
            if wire.link is None:
                continue
            a, b = routers[wire.a], routers[wire.b]
            if not wire.forward.announced:
                nlri = bgpls.link_nlri(ASN, a, b, wire.a_address, wire.b_address)
                table[nlri] = bgpls.link_attributes(wire.link, a, b, label)
            if not wire.back.announced:
                nlri = bgpls.link_nlri(ASN, b, a, wire.b_address, wire.a_address)
                table[nlri] = bgpls.link_attributes(wire.link, b, a, label)
        for entry in self._announcements():
            nlri = bgpls.prefix_nlri(ASN, routers[entry.router], entry.prefix)
            table[nlri] = bgpls.prefix_attributes(entry.metric)
        return table
