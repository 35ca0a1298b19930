"""Every write on the rows that people write down: sites and their like, devices, interfaces, links, endpoints.

All run inside the team's scope and raise ValidationError by field. What the network told us (`Device.source`,
`Interface.learned`, `Link.learned`) keeps its name, address and ends, and goes only with its source.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from core import live
from core.scope import current_team_id
from core.text import natural_key
from inventory.models import (
    Device,
    DeviceType,
    Endpoint,
    Interface,
    Link,
    Sluggable,
    TopologyEvent,
    sorted_name,
)
from inventory.naming import link_name
from inventory.services import topology_changed

Row = TypeVar("Row", bound=models.Model)
Organised = TypeVar("Organised", bound=Sluggable)

DEVICE_FIELDS = ("name", "router_id", "status", "site", "role", "device_type", "platform", "serial")
# What the network says of a device itself.
TOLD = ("name", "router_id")


def organised_create(*, model: type[Organised], name: str, slug: str = "", **fields: Any) -> Organised:
    """A site, device role, manufacturer, device type or platform; the slug comes from the name where none is given."""
    row = model(**sorted_name(name), slug=slug or slugify(name)[:100], **fields)
    return _organised_save(row)


def organised_update(*, row: Organised, **fields: Any) -> Organised:
    return _organised_save(_with(row, fields, ("name", "slug", "manufacturer")))


def organised_delete(*, row: Sluggable) -> None:
    """Raises ProtectedError while a device (of a manufacturer: a type) uses it."""
    row.delete()
    _published()


def _organised_save(row: Organised) -> Organised:
    organised_check(row)
    within = {"manufacturer": row.manufacturer} if isinstance(row, DeviceType) else {}
    _check_unique(row, "name", within)
    _check_unique(row, "slug", within)
    row.save()
    _published()
    return row


def organised_check(row: Sluggable, *, references: bool = True) -> None:
    """All but uniqueness; `references` asks the database whether what it refers to exists."""
    _check_name(row)
    if not row.slug:
        raise ValidationError({"slug": f"{row.name!r} gives no slug: write one of letters, digits and hyphens."})
    _check_fields(row, () if references else ("manufacturer",))


def device_create(*, name: str, **fields: Any) -> Device:
    """A device that was not learned (yet): a node of this name becomes the same row. Fields: DEVICE_FIELDS."""
    return _device_save(_with(Device(**sorted_name(name)), fields, DEVICE_FIELDS))


def device_update(*, device: Device, **fields: Any) -> Device:
    """Change what is given; of a learned device all but what the network itself says (TOLD)."""
    if device.source_id:
        _refuse_changes(device, fields, TOLD, "was learned from the network, which says it")
    before = device.name
    _device_save(_with(device, fields, DEVICE_FIELDS))
    if device.name != before:
        links = Link.objects.filter(Q(a_device=device) | Q(z_device=device)).select_related(*_ENDS)
        links_rename(links.order_by("id"))
    return device


def device_delete(*, device: Device) -> None:
    """Forget a written-down device with its interfaces and links."""
    if device.source_id:
        raise ValidationError(f"{device} was learned from {device.source}: it goes when that source is deleted.")
    device.delete()
    _published()


def device_check(device: Device, *, references: bool = True) -> None:
    """All but uniqueness; whether what it refers to exists is a question to the database for each."""
    _check_name(device)
    _check_text(device, "serial")
    device.router_id = device.router_id or None
    _check_fields(device, () if references else ("site", "role", "device_type", "platform"))


def _device_save(device: Device) -> Device:
    device_check(device)
    if not device.source_id and device_named(device.name, exclude=device.pk or 0):
        raise ValidationError({"name": f"There is already a device called {device.name!r}: choose another name."})
    device.changed = timezone.now()
    device.save()
    _published()
    return device


def device_named(name: str, exclude: int = 0) -> Device | None:
    """The device of this name, whatever its case; the written-down one first, then the oldest."""
    rows = Device.objects.filter(sort_key=natural_key(name)).exclude(pk=exclude)
    near = rows.order_by(models.F("source").asc(nulls_first=True), "id")
    return next((device for device in near if device.name.casefold() == name.casefold()), None)


def interface_create(*, device: Device, name: str, address: str | None = None) -> Interface:
    return _interface_save(Interface(device=device, name=name.strip(), address=address or None))


def interface_update(*, interface: Interface, **fields: Any) -> Interface:
    """Change name or address, which a learned interface keeps."""
    if interface.learned:
        _refuse_changes(interface, fields, ("name", "address"), "was learned from the network, which says it")
    _refuse_changes(interface, fields, ("device",), "cannot move: delete it and make it on the other device")
    return _interface_save(_with(interface, fields, ("device", "name", "address")))


def interface_delete(*, interface: Interface) -> None:
    """Forget a written-down interface with the links that end at it."""
    if interface.learned:
        raise ValidationError(f"{interface} was learned from the network: it goes when its source is deleted.")
    interface.delete()
    _published()


def interface_check(interface: Interface, *, references: bool = True) -> None:
    """All but uniqueness."""
    _check_text(interface, "name", required=True)
    interface.address = interface.address or None
    _check_fields(interface, () if references else ("device",))


def _interface_save(interface: Interface) -> Interface:
    interface_check(interface)
    _check_unique(interface, "name", {"device": interface.device})
    interface.save()
    _published()
    return interface


_ENDS = ("a_device", "z_device", "a_interface", "z_interface")


def link_create(*, a_interface: Interface, z_interface: Interface) -> Link:
    """A link (NetBox's cable) between interfaces of two devices; its state is unknown until the network tells of it."""
    return _link_save(Link(state=Link.State.UNKNOWN), a_interface, z_interface)


def link_update(*, link: Link, a_interface: Interface | None = None, z_interface: Interface | None = None) -> Link:
    """Move the ends that are given of a written-down link."""
    ends = {"a_interface": a_interface or link.a_interface, "z_interface": z_interface or link.z_interface}
    if link.learned:
        _refuse_changes(link, ends, ends, "was learned from the network, which says it")
        return link
    a, z = ends.values()
    assert a
    assert z
    return _link_save(link, a, z)


def link_delete(*, link: Link) -> None:
    if link.learned:
        raise ValidationError(f"{link} was learned from the network: it goes when its source is deleted.")
    link.delete()
    _published()


def _link_save(link: Link, a: Interface, z: Interface) -> Link:
    if a.device_id == z.device_id:
        raise ValidationError({"z_interface": f"Both ends are at {a.device}: a link joins two devices."})
    if found := Link.objects.filter(_between(a, z)).exclude(pk=link.pk).first():
        raise ValidationError({"z_interface": f"{found} already joins these two interfaces."})
    link.a_interface, link.z_interface, link.a_device, link.z_device = a, z, a.device, z.device
    link.key, link.changed = written_key(a, z), timezone.now()
    link.name, link.sort_key = _link_name(link).values()
    link.save()
    _published()
    return link


def written_key(a: Interface, z: Interface) -> str:
    """Learned keys start with the digits of a device's id, so none is ever the same."""
    return "written {}|{}".format(*sorted((a.pk, z.pk)))


def _between(a: Interface, z: Interface) -> Q:
    return Q(a_interface=a, z_interface=z) | Q(a_interface=z, z_interface=a)


def links_rename(links: Iterable[Link]) -> None:
    """Name written-down links (with their ends loaded) after what their devices are called."""
    for link in links:
        if not link.learned:
            link.name, link.sort_key = _link_name(link).values()
            link.save(update_fields=["name", "sort_key"])


def _link_name(link: Link) -> dict[str, Any]:
    """A parallel of another link also says at which interface it leaves A."""
    a, z = link.a_device, link.z_device
    pair = Q(a_device=a, z_device=z) | Q(a_device=z, z_device=a)
    parallel = Link.objects.filter(pair).exclude(pk=link.pk).exists()
    return sorted_name(link_name(a, z, link.a_interface.name if parallel and link.a_interface else ""))


def endpoint_update(*, endpoint: Endpoint, **fields: Any) -> Endpoint:
    """Rename or move an endpoint; the paths to it are planned again."""
    _with(endpoint, fields, ("name", "address"))
    _check_name(endpoint)
    _check_fields(endpoint)
    _check_unique(endpoint, "name", {})
    endpoint.save()
    _told("endpoint_set", f"Endpoint {endpoint} is at {endpoint.address}")
    return endpoint


def endpoint_delete(*, endpoint: Endpoint) -> None:
    """Forget an endpoint and the paths to it."""
    endpoint.delete()
    _told("endpoint_deleted", f"Endpoint {endpoint} was deleted")


def _told(kind: str, text: str) -> None:
    topology_changed([TopologyEvent(at=timezone.now(), kind=kind, text=text[:300])])


def _published() -> None:
    live.publish(current_team_id(), "topology")


def _with(row: Row, fields: Mapping[str, Any], known: Iterable[str]) -> Row:
    for name, value in fields.items():
        if name not in known:
            raise TypeError(f"{type(row).__name__} has no field {name!r} that people write down")
        setattr(row, name, value)
    return row


def _refuse_changes(row: models.Model, fields: Mapping[str, Any], kept: Iterable[str], why: str) -> None:
    wrong = [name for name in kept if name in fields and (fields[name] or None) != getattr(row, name)]
    if wrong:
        raise ValidationError({name: f"The {name.replace('_', ' ')} cannot be changed: {row} {why}." for name in wrong})


def _check_name(row: Any) -> None:
    _check_text(row, "name", required=True)
    row.sort_key = natural_key(row.name)


def _check_text(row: Any, field: str, *, required: bool = False) -> None:
    text = getattr(row, field).strip()
    if not text.isprintable():
        raise ValidationError({field: "Use only characters that can be printed, on one line."})
    if required and not text:
        raise ValidationError({field: f"The {field} cannot be empty."})
    setattr(row, field, text)


def _check_fields(row: models.Model, besides: Iterable[str] = ()) -> None:
    """Each column by itself; what the services set is right already."""
    row.clean_fields(exclude=["team", "source", "sort_key", "changed", *besides])


def _check_unique(row: models.Model, field: str, within: Mapping[str, Any]) -> None:
    value = getattr(row, field)
    rows = type(row)._default_manager.filter(**{field: value}, **within).exclude(pk=row.pk)
    if rows.exists():
        where = "".join(f" of {owner}" for owner in within.values())
        kind = row._meta.verbose_name
        raise ValidationError({field: f"There is already a {kind}{where} with the {field} {value!r}: choose another."})
