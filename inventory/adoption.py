"""What people wrote down before the network told of it: a learned node, interface or link becomes the row of the same
thing, no second one. The link-state database (inventory/linkstate.py) calls this while it loads."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import Q

from core.text import natural_key
from inventory.bgpls import adapter
from inventory.models import Device, Interface, Link, TopologySource, sorted_name

# What only people know of a device.
WRITTEN = ("status", "site", "role", "device_type", "platform", "serial")


def written_devices(names: Iterable[str]) -> dict[str, Device]:
    """Written-down devices of these names whatever their case, locked, by case-folded name."""
    names = set(names)
    if not names:
        return {}
    rows = Device.objects.filter(source__isnull=True, sort_key__in={natural_key(name) for name in names})
    return {device.name.casefold(): device for device in rows.select_for_update(of=("self",)).order_by("id")}


def device_adopt(device: Device, name: str, node: adapter.NodeId, source: TopologySource, at: datetime) -> Device:
    """A written-down device is from now on a node of `source`, down as yet like every new one."""
    device.name, device.sort_key = sorted_name(name).values()
    device.source, device.key, device.igp_router_id = source, node.key, node.igp_router_id
    device.up, device.changed = False, at
    device.save()
    return device


def device_merge(learned: Device, written: Device) -> None:
    """`learned` only now told its name, after its links: it takes over what was written down as `written`."""
    for field in WRITTEN:
        setattr(learned, field, getattr(written, field))
    learned.save(update_fields=WRITTEN)
    _merge_interfaces(learned, written)
    for side in ("a", "z"):
        Link.objects.filter(**{f"{side}_device": written}).update(**{f"{side}_device": learned})
    near = Q(a_device=learned) | Q(z_device=learned)
    links_replace(Link.objects.filter(near, learned=True))
    written.delete()


def _merge_interfaces(learned: Device, written: Device) -> None:
    known = interfaces([learned.pk])
    for port in Interface.objects.filter(device=written).order_by("id"):
        same = known.get((learned.pk, port.name)) or known.get((learned.pk, port.address or ""))
        if same is None:
            port.device = learned
            port.save(update_fields=["device"])
            continue
        for side in ("a", "z"):
            Link.objects.filter(**{f"{side}_interface": port}).update(**{f"{side}_interface": same})
        port.delete()
        same.name = port.name
        same.save(update_fields=["name"])


def interfaces(devices: Iterable[int]) -> dict[tuple[int, str], Interface]:
    """The interfaces of these devices by (device id, name) and, where no name says the same, (device id, address)."""
    rows = list(Interface.objects.filter(device__in=devices).order_by("-id"))
    by_address = {(each.device_id, each.address): each for each in rows if each.address}
    return by_address | {(each.device_id, each.name): each for each in rows}


def interface_adopt(interface: Interface, address: str | None) -> None:
    """A written-down interface was announced."""
    interface.learned, interface.address = True, address or interface.address
    interface.save(update_fields=["learned", "address"])


def written_links(ends: Mapping[str, tuple[Interface, Interface]]) -> dict[str, Link]:
    """Written-down links between these interfaces, locked, by the same keys."""
    if not ends:
        return {}
    wanted: dict[frozenset[int | None], str] = {frozenset((near.pk, far.pk)): key for key, (near, far) in ends.items()}
    ports = {pk for pair in wanted for pk in pair}
    rows = Link.objects.filter(learned=False, a_interface__in=ports, z_interface__in=ports)
    rows = rows.select_for_update(of=("self",)).order_by("id")
    return {wanted[_pair(link)]: link for link in rows if _pair(link) in wanted}


def links_replace(learned: Iterable[Link]) -> None:
    """Drop the written-down doubles of links whose two interfaces were told only after the link itself."""
    told = {_pair(link) for link in learned}
    ports = {pk for pair in told for pk in pair if pk}
    if ports:
        for link in Link.objects.filter(learned=False, a_interface__in=ports, z_interface__in=ports):
            if _pair(link) in told:
                link.delete()


def _pair(link: Link) -> frozenset[int | None]:
    return frozenset((link.a_interface_id, link.z_interface_id))
