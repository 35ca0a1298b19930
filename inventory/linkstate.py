"""The link-state database of one source: events of the adapter applied to rows, one batch at a time.

A batch first makes sure that every row its announcements speak of exists (down, as yet), so that applying them in
order is memory alone; then whatever changed is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Model, Q

from inventory import adoption, naming
from inventory.bgpls import adapter
from inventory.models import (
    Device,
    HalfLink,
    Interface,
    Link,
    Prefix,
    TopologyEvent,
    TopologySource,
    sorted_name,
)

_HALF_LINK_FIELDS = {
    "igp_metric": "metric",
    "te_metric": "TE metric",
    "max_bandwidth": "bandwidth",
    "delay_us": "delay",
    "adjacency_sids": "adjacency SIDs",
}


class LinkState:
    """Rows of `source` while a batch is applied.

    Then `events` tell what happened, `changed` whether the graph did, and `touched` which links: as each is now, its
    state before the batch, and what changed it last.
    """

    def __init__(self, source: TopologySource, at: datetime) -> None:
        self.source, self.at = source, at
        self.events: list[TopologyEvent] = []
        self.changed = False
        self.touched: dict[int, tuple[Link, str, str]] = {}
        self.devices: dict[str, Device] = {}
        self.half_links: dict[str, HalfLink] = {}
        self.prefixes: dict[str, Prefix] = {}
        self.links: dict[str, Link] = {}
        self._by_id: dict[int, Device] = {}
        self._links: dict[int, Link] = {}
        self._halves: dict[int, list[HalfLink]] = defaultdict(list)
        self._dirty: dict[type[Model], dict[int, Any]] = defaultdict(dict)
        self._ports: dict[tuple[int, str], Interface] = {}
        self._renamed: set[int] = set()

    def apply(self, events: Sequence[adapter.Event]) -> None:
        """Node, link and prefix events of one session, in order."""
        self._load(events)
        for event in events:
            match event:
                case adapter.NodeUp():
                    self._node_up(event)
                case adapter.HalfLinkUp():
                    self._half_link_up(event)
                case adapter.PrefixUp():
                    self._prefix_up(event)
                case adapter.Seen(kind, key):
                    if row := self._row(kind, key):
                        self._announced(row)
                case adapter.Down(kind, key):
                    if row := self._row(kind, key):
                        self._down(row, "withdrawn")
        self._write()

    def sweep(self) -> None:
        """Take down what this session has not announced."""
        gone = Q(source=self.source, up=True, session__lt=self.source.session)
        half_links = list(HalfLink.objects.filter(gone).select_related("link").order_by("id"))
        self._know(half_links)
        rows: list[Device | HalfLink | Prefix] = [*half_links]
        rows += Prefix.objects.filter(gone).select_related("device").order_by("id")
        rows += Device.objects.filter(gone).order_by("id")
        for row in rows:
            self._down(row, "not announced again")
        self._write()

    def direction(self, link: Link) -> str:
        """The direction that is missing, where it is only one."""
        halves = HalfLink.objects.filter(link=link).select_related("device", "remote_device")
        names = {up: {str(half) for half in halves if half.up == up} for up in (True, False)}
        missing = names[False] - names[True]
        return missing.pop() if len(missing) == 1 and names[True] else ""

    # What the rows are

    def _load(self, events: Sequence[adapter.Event]) -> None:
        node_ids: dict[str, adapter.NodeId] = {}
        for event in events:
            match event:
                case adapter.NodeUp(node) | adapter.PrefixUp(node=node):
                    node_ids[node.key] = node
                case adapter.HalfLinkUp(local=local, remote=remote):
                    node_ids[local.key], node_ids[remote.key] = local, remote
        keys: dict[str, set[str]] = defaultdict(set)
        for event in events:
            if isinstance(event, adapter.Down | adapter.Seen):
                keys[event.kind].add(event.key)
        names = {event.key: event.name for event in events if isinstance(event, adapter.NodeUp) and event.name}
        self._load_devices(node_ids, names, keys["device"])
        ups = {event.key: event for event in events if isinstance(event, adapter.HalfLinkUp)}
        self._load_half_links(ups, keys["half_link"])
        prefixes = {event.key: event for event in events if isinstance(event, adapter.PrefixUp)}
        self._load_prefixes(prefixes, keys["prefix"])
        self._name_links()

    def _load_devices(self, nodes: dict[str, adapter.NodeId], names: dict[str, str], more: set[str]) -> None:
        found = Device.objects.filter(source=self.source, key__in=nodes.keys() | more)
        self.devices = {device.key: device for device in found}
        called = {key: names.get(key, node.igp_router_id) for key, node in nodes.items() if key not in self.devices}
        self._adopt_devices(nodes, called, names)
        missing = [
            Device(
                source=self.source, key=key, igp_router_id=nodes[key].igp_router_id, up=False, changed=self.at,
                **sorted_name(name),
            )
            for key, name in called.items()
            if key not in self.devices
        ]  # fmt: skip
        self.devices |= {device.key: device for device in Device.objects.bulk_create(missing)}
        self._by_id = {device.pk: device for device in self.devices.values()}

    def _adopt_devices(self, nodes: dict[str, adapter.NodeId], new: dict[str, str], names: dict[str, str]) -> None:
        """Take over what people wrote down under the names of new nodes and of those that are renamed."""
        renamed = {key: name for key, name in names.items() if key in self.devices and self.devices[key].name != name}
        written = adoption.written_devices((*new.values(), *renamed.values()))
        for key, name in (new | renamed).items():
            if (device := written.pop(name.casefold(), None)) is None:
                continue
            if key in new:
                self.devices[key] = adoption.device_adopt(device, name, nodes[key], self.source, self.at)
            else:
                adoption.device_merge(self.devices[key], device)
            self._renamed.add(self.devices[key].pk)

    def _load_half_links(self, ups: dict[str, adapter.HalfLinkUp], more: set[str]) -> None:
        found = HalfLink.objects.filter(source=self.source, key__in=ups.keys() | more).select_related("link")
        self.half_links = {half.key: half for half in found}
        missing = {key: event for key, event in ups.items() if key not in self.half_links}
        interfaces = self._load_interfaces(missing.values())
        self._load_links(missing.values(), interfaces)
        made = HalfLink.objects.bulk_create(
            HalfLink(
                source=self.source,
                key=key,
                device=self.devices[event.local.key],
                remote_device=self.devices[event.remote.key],
                interface=interfaces[key],
                link=self.links[self._link_key(event)],
                local_address=event.local_address,
                remote_address=event.remote_address,
                up=False,
                changed=self.at,
                **_attributes(event),
            )
            for key, event in missing.items()
        )
        self.half_links |= {half.key: half for half in made}
        self._know(self.half_links.values())

    def _know(self, half_links: Iterable[HalfLink]) -> None:
        """Have every half of the links of these, each row once, and both their devices."""
        known = {half.pk: half for half in half_links}
        made = {link.pk: link for link in self.links.values()}
        self._links = {half.link_id: half.link for half in known.values()} | made
        self._halves.clear()
        for row in HalfLink.objects.filter(link__in=self._links).order_by("id"):
            half = known.setdefault(row.pk, row)
            half.link = self._links[half.link_id]
            self._halves[half.link_id].append(half)
        self._find_ends()
        ends = {pk for half in known.values() for pk in (half.device_id, half.remote_device_id)}
        self._by_id |= {device.pk: device for device in Device.objects.filter(pk__in=ends - self._by_id.keys())}
        for half in known.values():
            half.device, half.remote_device = self._by_id[half.device_id], self._by_id[half.remote_device_id]

    def _ends(self, event: adapter.HalfLinkUp) -> tuple[str, str]:
        near, far = _end(event.local_address, event.local_id), _end(event.remote_address, event.remote_id)
        # Where one end has no name of its own (the pseudonode of a LAN), the two devices are all that tells.
        return (near, far) if near and far else ("", "")

    def _link_key(self, event: adapter.HalfLinkUp) -> str:
        near, far = self._ends(event)
        ends = (f"{self.devices[event.local.key].pk} {near}", f"{self.devices[event.remote.key].pk} {far}")
        return "|".join(sorted(ends))

    def _find_ends(self) -> None:
        """A link ends at the interfaces of its half-links."""
        found = []
        for half in (half for halves in self._halves.values() for half in halves):
            side = "a_interface_id" if half.device_id == half.link.a_device_id else "z_interface_id"
            if getattr(half.link, side) is None:
                setattr(half.link, side, half.interface_id)
                self._save(half.link)
                found.append(half.link)
        adoption.links_replace(found)

    def _load_links(self, events: Iterable[adapter.HalfLinkUp], interfaces: dict[str, Interface]) -> None:
        wanted = {self._link_key(event): event for event in events}
        self.links = {link.key: link for link in Link.objects.filter(key__in=wanted)}
        new = {key: event for key, event in wanted.items() if key not in self.links}
        far = {key: self._ports.get((self.devices[event.remote.key].pk, _far_end(event))) for key, event in new.items()}
        ends = {key: (interfaces[new[key].key], port) for key, port in far.items() if port}
        written = adoption.written_links(ends)
        missing = []
        for key, event in new.items():
            a, z = sorted((self.devices[event.local.key], self.devices[event.remote.key]), key=naming.in_order)
            link = written.get(key) or Link(key=key)
            naming.turned(link, a, z)
            link.key, link.learned, link.state, link.changed = key, True, Link.State.DOWN, self.at
            link.name, link.sort_key = sorted_name(naming.link_name(a, z)).values()
            self._renamed.add(a.pk)
            if link.pk:
                link.save()
                self.links[key] = link
            else:
                missing.append(link)
        self.links |= {link.key: link for link in Link.objects.bulk_create(missing)}

    def _load_interfaces(self, events: Iterable[adapter.HalfLinkUp]) -> dict[str, Interface]:
        """By the key of the half-link that leaves through it."""
        ends = {self.devices[node.key].pk for event in events for node in (event.local, event.remote)}
        self._ports = adoption.interfaces(ends)
        wanted = {event.key: (self.devices[event.local.key].pk, _interface_name(event)) for event in events}
        missing = {}
        for event in events:
            place = wanted[event.key]
            if (port := self._ports.get(place)) is None:
                missing[place] = Interface(device_id=place[0], name=place[1], address=event.local_address, learned=True)
            elif not port.learned:
                adoption.interface_adopt(port, event.local_address)
        made = Interface.objects.bulk_create(missing.values())
        self._ports |= {(each.device_id, each.name): each for each in made}
        return {key: self._ports[place] for key, place in wanted.items()}

    def _load_prefixes(self, ups: dict[str, adapter.PrefixUp], more: set[str]) -> None:
        found = Prefix.objects.filter(source=self.source, key__in=ups.keys() | more).select_related("device")
        self.prefixes = {prefix.key: prefix for prefix in found}
        made = Prefix.objects.bulk_create(
            Prefix(
                source=self.source, key=key, device=self.devices[event.node.key], prefix=event.prefix,
                metric=event.metric, up=False, changed=self.at,
            )
            for key, event in ups.items()
            if key not in self.prefixes
        )  # fmt: skip
        self.prefixes |= {prefix.key: prefix for prefix in made}

    def _row(self, kind: adapter.Kind, key: str) -> Device | HalfLink | Prefix | None:
        rows: dict[str, dict[str, Any]] = {
            "device": self.devices,
            "half_link": self.half_links,
            "prefix": self.prefixes,
        }
        row: Device | HalfLink | Prefix | None = rows[kind].get(key)
        return row

    # What happens to them

    def _node_up(self, event: adapter.NodeUp) -> None:
        device = self.devices[event.key]
        before = device.name
        if event.name and event.name != before:
            device.name, device.sort_key = sorted_name(event.name).values()
            self._renamed.add(device.pk)
        if event.router_id:
            device.router_id = event.router_id
        if not device.up:
            self._up(device)
        elif device.name != before:
            self._changed(device, f"{before} is now called {device.name}")
        self._announced(device)

    def _half_link_up(self, event: adapter.HalfLinkUp) -> None:
        half = self.half_links[event.key]
        changes = []
        for field, value in _attributes(event).items():
            before = getattr(half, field)
            if before != value:
                setattr(half, field, value)
                changes.append(f"{_HALF_LINK_FIELDS[field]} {before} → {value}")
        if not half.up:
            self._up(half)
        elif changes:
            self._changed(half, f"{half}: {', '.join(changes)}")
        self._announced(half)

    def _prefix_up(self, event: adapter.PrefixUp) -> None:
        prefix = self.prefixes[event.key]
        before, prefix.metric = prefix.metric, event.metric
        if not prefix.up:
            self._up(prefix)
        elif before != event.metric:
            self._changed(prefix, f"{prefix} at {prefix.device}: metric {before} → {event.metric}")
        self._announced(prefix)

    def _announced(self, row: Device | HalfLink | Prefix) -> None:
        if row.up and row.session != self.source.session:
            row.session = self.source.session
            self._save(row)

    def _up(self, row: Device | HalfLink | Prefix) -> None:
        row.up, row.changed = True, self.at
        self._save(row)
        self._event(row, f"{_kind(row)}_up", f"{_label(row)} is announced")
        if isinstance(row, HalfLink):
            self._check_two_way(row.link, f"{row} is announced")

    def _down(self, row: Device | HalfLink | Prefix, why: str) -> None:
        if not row.up:
            return
        row.up, row.changed = False, self.at
        self._save(row)
        self._event(row, f"{_kind(row)}_down", f"{_label(row)} was {why}")
        if isinstance(row, HalfLink):
            self._check_two_way(row.link, f"{row} was {why}")

    def _changed(self, row: Device | HalfLink | Prefix, text: str) -> None:
        row.changed = self.at
        self._save(row)
        self._event(row, f"{_kind(row)}_changed", text)

    def _check_two_way(self, link: Link, why: str) -> None:
        """A link is up while both directions are announced (ISO 10589 section 7.2.8)."""
        ways = {(half.device_id, half.remote_device_id) for half in self._halves[link.pk] if half.up}
        both = any(near != far and (far, near) in ways for near, far in ways)
        state = Link.State.UP if both else Link.State.DOWN
        before = self.touched[link.pk][1] if link.pk in self.touched else link.state
        self.touched[link.pk] = (link, before, why)
        if link.state == state:
            return
        link.state, link.changed = state, self.at
        self._save(link)
        self._event(link, f"link_{state.value}", f"Link {link.name} is {state.value}: {why}")

    def _save(self, row: Any) -> None:
        self._dirty[type(row)][row.pk] = row

    def _event(self, row: Device | HalfLink | Prefix | Link, kind: str, text: str) -> None:
        device = row if isinstance(row, Device) else None if isinstance(row, Link) else row.device
        link = row if isinstance(row, Link) else row.link if isinstance(row, HalfLink) else None
        event = TopologyEvent(at=self.at, kind=kind, text=text[:300], device=device, link=link)
        self.events.append(event)
        self.changed = True

    # Writing

    def _write(self) -> None:
        self._name_links()
        fields: dict[type[Model], list[str]] = {
            Device: ["name", "sort_key", "router_id", "up", "session", "changed"],
            HalfLink: [*_HALF_LINK_FIELDS, "up", "session", "changed"],
            Link: ["name", "sort_key", "a_device", "z_device", "a_interface", "z_interface", "state", "changed"],
            Prefix: ["metric", "up", "session", "changed"],
        }
        for model, rows in self._dirty.items():
            # An upsert of whole rows: bulk_update's CASE per row and field takes seconds for 500 rows.
            model._default_manager.bulk_create(
                rows.values(), update_conflicts=True, unique_fields=["id"], update_fields=fields[model]
            )
        self._dirty.clear()

    def _name_links(self) -> None:
        """Name the links of renamed devices, and all parallels of a new link, after what their devices are called."""
        if not self._renamed:
            return
        for link in naming.renamed(self._renamed, self._links | self._dirty[Link], self._by_id):
            self._save(link)
        self._renamed.clear()


def _attributes(event: adapter.HalfLinkUp) -> dict[str, Any]:
    found = {field: getattr(event, field) for field in _HALF_LINK_FIELDS}
    return found | {"adjacency_sids": list(event.adjacency_sids)}


def _end(address: str | None, identifier: int | None) -> str:
    return address or ("" if identifier is None else f"#{identifier}")


def _interface_name(event: adapter.HalfLinkUp) -> str:
    return _end(event.local_address, event.local_id) or f"to {event.remote.igp_router_id}"


def _far_end(event: adapter.HalfLinkUp) -> str:
    return _end(event.remote_address, event.remote_id)


def _kind(row: Device | HalfLink | Prefix) -> str:
    return {Device: "device", HalfLink: "half_link", Prefix: "prefix"}[type(row)]


def _label(row: Device | HalfLink | Prefix) -> str:
    if isinstance(row, Prefix):
        return f"Prefix {row} at {row.device}"
    return f"Half-link {row}" if isinstance(row, HalfLink) else f"Device {row}"
