"""Devices, interfaces and links as tables: which columns there are, and what each means."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from inventory import written
from inventory.imports.plan import BATCH, Change, Plan, Record, Refused, Table
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Interface,
    Link,
    Manufacturer,
    Platform,
    Site,
    sorted_name,
)
from inventory.naming import link_name

_TOLD = "{} was learned from the network, which says its {}."
_SHELVES: dict[str, type[Any]] = {"site": Site, "role": DeviceRole, "platform": Platform}


class Shelf:
    """Rows of a model by name. One that is missing is made, before the devices that name it."""

    def __init__(self, model: type[Any], beside: dict[Any, list[Any]]) -> None:
        self._model, self._beside = model, beside
        self._rows: dict[tuple[str, str], Any] = {}
        rows = model.objects.select_related("manufacturer") if model is DeviceType else model.objects.all()
        for row in rows:
            self._put(row)

    def _put(self, row: Any) -> None:
        for column in ("name", "slug"):
            self._rows[column, self._key(row, getattr(row, column))] = row

    @staticmethod
    def _key(row: Any, value: str) -> str:
        return f"{row.manufacturer.name}\n{value}" if isinstance(row, DeviceType) else value

    def find(self, column: str, name: str, **within: Any) -> Any:
        row = self._model(**sorted_name(name), slug=slugify(name)[:100], **within)
        if found := self._rows.get(("name", self._key(row, name))):
            return found
        try:
            written.organised_check(row, references=False)
        except ValidationError as error:
            raise Refused(column, " ".join(error.messages)) from None
        if other := self._rows.get(("slug", self._key(row, row.slug))):
            raise Refused(column, f"{name!r} would have the slug {row.slug!r}, which {other.name!r} has already.")
        self._put(row)
        self._beside.setdefault(self._model, []).append(row)
        return row


class Devices(Table):
    kind, model = "device", Device
    columns = ("name", "status", "site", "role", "manufacturer", "device_type", "platform", "serial", "router_id")
    keys = ("name",)

    def __init__(self, plan: Plan, records: Sequence[Record]) -> None:
        self._by_id = {device.pk: device for device in self.rows()}
        self._names: dict[str, list[Device]] = defaultdict(list)
        for device in self._by_id.values():
            self._names[device.name.casefold()].append(device)
        used: tuple[type[Any], ...] = (*_SHELVES.values(), Manufacturer, DeviceType)
        self._shelves = {model: Shelf(model, plan.beside) for model in used}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Device.objects.select_related("site", "role", "platform", "device_type__manufacturer")

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        kind = row.device_type
        cells = {"name": row.name, "status": row.status, "manufacturer": kind.manufacturer.name if kind else ""}
        for column in ("site", "role", "device_type", "platform"):
            cells[column] = getattr(row, column).name if getattr(row, column) else ""
        return cells | {"serial": row.serial, "router_id": row.router_id or ""}

    def by_id(self, pk: int) -> Any | None:
        return self._by_id.get(pk)

    def named(self, cells: Mapping[str, str]) -> Any | None:
        return one_device(self._names[cells["name"].casefold()], "name", cells["name"])

    def fill(self, row: Any, cells: Mapping[str, str], changed: set[str]) -> None:
        for column in written.TOLD:
            if row.source_id and column in changed and not _same_address(cells[column], getattr(row, column)):
                raise Refused(column, _TOLD.format(row.name, column.replace("_", " ")))
        if "name" in changed:
            self._rename(row, cells["name"])
        for column, model in _SHELVES.items():
            if column in changed:
                name = cells[column]
                setattr(row, column, self._shelves[model].find(column, name) if name else None)
        if {"manufacturer", "device_type"} & changed:
            self._set_type(row, {**self.text(row), **cells})
        for column in ("serial", "router_id"):
            if column in changed:
                setattr(row, column, cells[column])
        if "status" in changed:
            row.status = cells["status"] or Device.Status.ACTIVE
        row.changed = timezone.now()
        written.device_check(row, references=False)

    def _rename(self, row: Device, name: str) -> None:
        others = [device for device in self._names[name.casefold()] if device is not row]
        if others:
            raise Refused("name", f"There is already a device called {others[0].name!r}.")
        row.name = name
        self._names[name.casefold()].append(row)

    def _set_type(self, row: Device, cells: Mapping[str, str]) -> None:
        maker, name = cells["manufacturer"], cells["device_type"]
        if bool(maker) != bool(name):
            missing = "device_type" if maker else "manufacturer"
            raise Refused(missing, "A device type and its manufacturer go together: give both or none.")
        row.device_type = None
        if name:
            found = self._shelves[Manufacturer].find("manufacturer", maker)
            row.device_type = self._shelves[DeviceType].find("device_type", name, manufacturer=found)

    @classmethod
    def after(cls, changes: Sequence[Change]) -> None:
        renamed = [change.row.pk for change in changes if "name" in change.before]
        if renamed:
            links = Link.objects.filter(Q(a_device__in=renamed) | Q(z_device__in=renamed), learned=False)
            written.links_rename(Links.with_ends(links).order_by("id"))


class Interfaces(Table):
    kind, model = "interface", Interface
    columns = ("device", "name", "address")
    keys = ("device", "name")

    def __init__(self, plan: Plan, records: Sequence[Record]) -> None:
        ids = {int(cells["id"]) for _, cells in records if cells.get("id", "").isdecimal()}
        self.devices = Names({cells.get("device", "").strip() for _, cells in records})
        owners = {device.pk for device in self.devices}
        self._by_id = {row.pk: row for row in _chunked(self.rows(), "pk", ids)}
        for row in _chunked(self.rows(), "device_id", owners | {row.device_id for row in self._by_id.values()}):
            self._by_id.setdefault(row.pk, row)
        self._names = {(row.device_id, row.name): row for row in self._by_id.values()}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Interface.objects.select_related("device")

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        return {"device": row.device.name, "name": row.name, "address": row.address or ""}

    @staticmethod
    def label(row: Any) -> str:
        return f"{row.device} {row.name}"

    def by_id(self, pk: int) -> Any | None:
        return self._by_id.get(pk)

    def named(self, cells: Mapping[str, str]) -> Any | None:
        device = self.devices.one("device", cells["device"])
        return self._names.get((device.pk, cells["name"]))

    def fill(self, row: Any, cells: Mapping[str, str], changed: set[str]) -> None:
        if row.pk and "device" in changed and cells["device"].casefold() != row.device.name.casefold():
            raise Refused("device", f"{row} cannot move: make it on the other device and delete it here.")
        for column in ("name", "address"):
            if row.learned and column in changed and not _same_address(cells[column], getattr(row, column)):
                raise Refused(column, _TOLD.format(row.name, column))
        if not row.pk:
            row.device = self.devices.one("device", cells["device"])
        if "name" in changed:
            if (row.device_id, cells["name"]) in self._names:
                raise Refused("name", f"{row.device} already has an interface {cells['name']!r}.")
            row.name = cells["name"]
            self._names[row.device_id, row.name] = row
        if "address" in changed:
            row.address = cells["address"]
        written.interface_check(row, references=False)


class Links(Table):
    kind, model = "link", Link
    columns = ("a_device", "a_interface", "z_device", "z_interface")
    keys = columns

    def __init__(self, plan: Plan, records: Sequence[Record]) -> None:
        named = {cells.get(column, "").strip() for _, cells in records for column in ("a_device", "z_device")}
        self.devices = Names(named)
        owners = {device.pk for device in self.devices}
        ports = _chunked(Interface.objects.select_related("device"), "device_id", owners)
        self._ports = {(port.device_id, port.name): port for port in ports}
        self._by_id = {link.pk: link for link in self.rows()}
        self._pairs = {_pair(link.a_interface, link.z_interface): link for link in self._by_id.values()}
        self._parallel: dict[frozenset[int], int] = defaultdict(int)
        for link in self._by_id.values():
            self._parallel[frozenset((link.a_device_id, link.z_device_id))] += 1

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return cls.with_ends(Link.objects.all())

    @staticmethod
    def with_ends(links: models.QuerySet[Link]) -> models.QuerySet[Link]:
        return links.select_related("a_device", "z_device", "a_interface", "z_interface")

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        a, z = row.a_interface, row.z_interface
        return {
            "a_device": row.a_device.name,
            "a_interface": a.name if a else "",
            "z_device": row.z_device.name,
            "z_interface": z.name if z else "",
        }

    def by_id(self, pk: int) -> Any | None:
        return self._by_id.get(pk)

    def named(self, cells: Mapping[str, str]) -> Any | None:
        return self._pairs.get(_pair(*self._ends(cells)))

    def _ends(self, cells: Mapping[str, str]) -> tuple[Interface, Interface]:
        found = []
        for side in ("a", "z"):
            device = self.devices.one(f"{side}_device", cells[f"{side}_device"])
            port = self._ports.get((device.pk, cells[f"{side}_interface"]))
            if port is None:
                raise Refused(f"{side}_interface", f"{device} has no interface {cells[f'{side}_interface']!r}.")
            found.append(port)
        return found[0], found[1]

    def fill(self, row: Any, cells: Mapping[str, str], changed: set[str]) -> None:
        whole = {**(self.text(row) if row.pk else {}), **cells}
        if row.learned:
            if (
                row.a_interface
                and row.z_interface
                and _pair(*self._ends(whole)) == _pair(row.a_interface, row.z_interface)
            ):
                return
            raise Refused("a_interface", _TOLD.format(row.name, "ends"))
        a, z = self._ends(whole)
        if a.device_id == z.device_id:
            raise Refused("z_device", f"Both ends are at {a.device}: a link joins two devices.")
        pair = _pair(a, z)
        if self._pairs.setdefault(pair, row) is not row:
            raise Refused("z_interface", f"{self._pairs[pair]} already joins these two interfaces.")
        row.a_interface, row.z_interface, row.a_device, row.z_device = a, z, a.device, z.device
        row.key, row.state, row.changed = written.written_key(a, z), Link.State.UNKNOWN, timezone.now()
        between = frozenset((a.device_id, z.device_id))
        self._parallel[between] += 1
        name = link_name(a.device, z.device, a.name if self._parallel[between] > 1 else "")
        row.name, row.sort_key = sorted_name(name).values()


class Names:
    """Devices by their names."""

    def __init__(self, wanted: set[str]) -> None:
        self._found: dict[str, list[Device]] = defaultdict(list)
        for device in _chunked(Device.objects.all(), "sort_key", {sorted_name(name)["sort_key"] for name in wanted}):
            self._found[device.name.casefold()].append(device)

    def __iter__(self) -> Iterator[Device]:
        return (device for devices in self._found.values() for device in devices)

    def one(self, column: str, name: str) -> Device:
        device = one_device(self._found[name.casefold()], column, name)
        if device is None:
            raise Refused(column, f"There is no device called {name!r}.")
        return device


def one_device(found: list[Device], column: str, name: str) -> Device | None:
    if len(found) > 1:
        exact = [device for device in found if device.name == name]
        if len(exact) != 1:
            raise Refused(column, f"There are {len(found)} devices called {name!r}: say which by its id.")
        found = exact
    return found[0] if found else None


def _pair(a: Interface | None, z: Interface | None) -> frozenset[int | None]:
    return frozenset((a.pk if a else None, z.pk if z else None))


def _same_address(text: str, known: str | None) -> bool:
    """Whether a cell says what is there in other words."""
    if text == (known or ""):
        return True
    try:
        return ipaddress.ip_address(text) == ipaddress.ip_address(known or "")
    except ValueError:
        return False


def _chunked(rows: models.QuerySet[Any], column: str, values: Iterable[Any]) -> Iterator[Any]:
    """The rows with one of many values."""
    listed = sorted(values)
    for start in range(0, len(listed), 5 * BATCH):
        yield from rows.filter(**{f"{column}__in": listed[start : start + 5 * BATCH]})


TABLES: dict[str, type[Table]] = {"devices": Devices, "interfaces": Interfaces, "links": Links}
