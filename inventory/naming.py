"""How links are called: after the two devices, and one of several parallels also after where it leaves the first."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from django.db.models import Q

from inventory.models import Device, Link, sorted_name


def link_name(a: Device, z: Device, at: str = "") -> str:
    """A–Z, for one of parallel links with the end `at` A; long names are cut so that it always fits."""
    ends = "–".join(_cut(device.name) for device in (a, z))
    return f"{ends} ({_cut(at)})" if at else ends


def _cut(name: str) -> str:
    return name if len(name) <= 39 else f"{name[:38]}…"


def in_order(device: Device) -> tuple[str, int]:
    """The device of a learned link that comes first is its A."""
    return device.sort_key, device.pk


def turned(link: Link, a: Device, z: Device) -> None:
    """Have `a` and `z` for its ends, each with its interface."""
    if link.a_device_id != a.pk:
        link.a_interface_id, link.z_interface_id = link.z_interface_id, link.a_interface_id
    link.a_device, link.z_device = a, z


def renamed(devices: Iterable[int], links: Mapping[int, Link], known: Mapping[int, Device]) -> Iterator[Link]:
    """The links of `devices` that are called otherwise now, renamed; `links` and `known` are newer than their rows."""
    touched = Q(a_device__in=devices) | Q(z_device__in=devices)
    ends_of = ("a_device", "z_device", "a_interface", "z_interface")
    pairs: dict[frozenset[int], list[Link]] = defaultdict(list)
    for link in Link.objects.filter(touched).select_related(*ends_of).order_by("id"):
        link = links.get(link.pk, link)
        pairs[frozenset((link.a_device_id, link.z_device_id))].append(link)
    for parallels in pairs.values():
        for link in parallels:
            a, z = sorted((known.get(end.pk, end) for end in (link.a_device, link.z_device)), key=in_order)
            name = link_name(a, z, _end_of(link, a) if len(parallels) > 1 else "")
            if (link.name, link.a_device_id) != (name, a.pk):
                turned(link, a, z)
                link.name, link.sort_key = sorted_name(name).values()
                yield link


def _end_of(link: Link, device: Device) -> str:
    """The end of a link at one device: of a learned one from its key."""
    if not link.learned:
        return next(port.name for port in (link.a_interface, link.z_interface) if port and port.device_id == device.pk)
    ends = dict(end.split(" ", 1) for end in link.key.split("|"))
    return ends.get(str(device.pk)) or str(link.pk)
