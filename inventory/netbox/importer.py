"""The way in from a NetBox: its sites, roles, manufacturers, types, platforms, devices, interfaces, addresses and
cables as records of our own tables, which are then planned and written like any import."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db import models
from django.db.models import QuerySet

from core import outbound
from inventory import written
from inventory.imports.plan import Plan, Record, Refused, Table, Tick, apply_plan, make_plan
from inventory.imports.tables import Devices, Interfaces, Links
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Interface,
    Manufacturer,
    Platform,
    Site,
    sorted_name,
)

PAGE, MAX_PAGES, PAGE_BYTES, PAGE_S = 500, 2000, 50_000_000, 60.0
LISTS = (
    "dcim/sites", "dcim/device-roles", "dcim/manufacturers", "dcim/device-types", "dcim/platforms", "dcim/devices",
    "dcim/interfaces", "ipam/ip-addresses", "dcim/cables",
)  # fmt: skip


class NotNetBox(Exception):
    """What answers is no NetBox, or it does not let us in; one sentence for the user."""


def read(url: str, token: str, tick: Callable[[str, int, int], None]) -> dict[str, list[Any]]:
    """All rows of LISTS, in the order of ids. Raises ValidationError, outbound.FetchError or NotNetBox."""
    base = url.rstrip("/").removesuffix("/api")
    found: dict[str, list[Any]] = {}
    for name in LISTS:
        rows: list[Any] = []
        for _ in range(MAX_PAGES):
            query = urlencode({"limit": PAGE, "offset": len(rows), "ordering": "id"})
            page = _page(f"{base}/api/{name}/?{query}", token)
            rows += page["results"]
            tick(name, len(rows), page["count"])
            if not page["results"] or len(rows) >= page["count"]:
                break
        found[name] = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), int)]
    return found


def _page(url: str, token: str) -> Any:
    headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
    answer = outbound.fetch("GET", url, headers=headers, max_bytes=PAGE_BYTES, timeout=PAGE_S)
    where = url.partition("?")[0]
    if answer.status in (401, 403):
        raise NotNetBox(f"{where} does not let this token in (status {answer.status}).")
    try:
        page = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        page = None
    if (
        not isinstance(page, dict)
        or not isinstance(page.get("results"), list)
        or not isinstance(page.get("count"), int)
    ):
        raise NotNetBox(f"{where} answers with status {answer.status} and no list: is this the address of a NetBox?")
    return page


class Organised(Table):
    """Sites and their like, named by their slugs."""

    keys: ClassVar[tuple[str, ...]] = ("slug",)
    columns: ClassVar[tuple[str, ...]] = ("name", "slug")

    def __init__(self, plan: Plan, records: Any) -> None:
        self._rows = {self._key(self.text(row)): row for row in self.rows()}

    @classmethod
    def rows(cls) -> QuerySet[Any]:
        found: QuerySet[Any] = cls.model.objects.all()
        return found

    @classmethod
    def _key(cls, cells: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(cells[name] for name in cls.keys)

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        return {"name": row.name, "slug": row.slug}

    def named(self, cells: Mapping[str, str]) -> Any | None:
        return self._rows.get(self._key(cells))

    def fill(self, row: Any, cells: Mapping[str, str], changed: set[str]) -> None:
        for other in self._rows.values():
            if other is not row and other.name == cells["name"] and self._same_place(other, cells):
                raise Refused("name", f"{other} is here already, with the slug {other.slug!r}.")
        row.name, row.sort_key = sorted_name(cells["name"]).values()
        row.slug = cells["slug"]
        self._place(row, cells)
        written.organised_check(row, references=False)
        self._rows[self._key(cells)] = row

    def _same_place(self, other: Any, cells: Mapping[str, str]) -> bool:
        return True

    def _place(self, row: Any, cells: Mapping[str, str]) -> None:
        """Set what else it needs."""


class Types(Organised):
    kind, model = "device type", DeviceType
    keys = ("manufacturer", "slug")
    columns = ("manufacturer", "name", "slug")

    def __init__(self, plan: Plan, records: Any) -> None:
        super().__init__(plan, records)
        self._makers = {maker.slug: maker for maker in Manufacturer.objects.all()}

    @classmethod
    def rows(cls) -> QuerySet[Any]:
        return DeviceType.objects.select_related("manufacturer")

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        return {"manufacturer": row.manufacturer.slug, "name": row.name, "slug": row.slug}

    def _same_place(self, other: Any, cells: Mapping[str, str]) -> bool:
        return bool(other.manufacturer.slug == cells["manufacturer"])

    def _place(self, row: Any, cells: Mapping[str, str]) -> None:
        row.manufacturer = self._makers.get(cells["manufacturer"])
        if row.manufacturer is None:
            raise Refused("manufacturer", f"There is no manufacturer {cells['manufacturer']!r}.")


def _organised(kind: str, of: type[models.Model]) -> type[Organised]:
    return type(f"{of.__name__}Table", (Organised,), {"kind": kind, "model": of})


def stages(found: Mapping[str, list[Any]]) -> Iterator[tuple[type[Table], list[Record]]]:
    """Tables and their records, each when the ones before it are written."""
    plain = {
        "dcim/sites": _organised("site", Site), "dcim/device-roles": _organised("device role", DeviceRole),
        "dcim/manufacturers": _organised("manufacturer", Manufacturer),
        "dcim/platforms": _organised("platform", Platform),
    }  # fmt: skip
    for name, table in plain.items():
        yield table, [(row["id"], {"name": _text(row, "name"), "slug": _text(row, "slug")}) for row in found[name]]
    yield Types, [(row["id"], _type(row)) for row in found["dcim/device-types"]]
    yield Devices, list(_devices(found["dcim/devices"]))
    ports = _Ports(found)
    yield Interfaces, list(ports.records())
    yield Links, list(ports.cables(found["dcim/cables"]))


def _text(row: Any, *path: str) -> str:
    for step in path:
        row = row.get(step) if isinstance(row, dict) else None
    return str(row) if isinstance(row, str | int) else ""


def _type(row: Any) -> dict[str, str]:
    maker = _text(row, "manufacturer", "slug")
    return {"name": _text(row, "model"), "slug": _text(row, "slug"), "manufacturer": maker}


def _devices(rows: list[Any]) -> Iterator[Record]:
    """Devices without a name have none here; what the network says of a learned one stays as it is."""
    learned = set(Device.objects.filter(source__isnull=False).values_list("name", flat=True))
    for row in rows:
        if not (name := _text(row, "name")):
            continue
        cells = {
            "name": name,
            "status": _text(row, "status", "value"),
            "site": _text(row, "site", "name"),
            "role": _text(row, "role", "name"),
            "manufacturer": _text(row, "device_type", "manufacturer", "name"),
            "device_type": _text(row, "device_type", "model"),
            "platform": _text(row, "platform", "name"),
            "serial": _text(row, "serial"),
        }
        if name not in learned:
            cells["router_id"] = _text(row, "primary_ip", "address").partition("/")[0]
        yield row["id"], cells


class _Ports:
    """Interfaces with their first address each; one that was learned is found by its address, whatever its name is."""

    def __init__(self, found: Mapping[str, list[Any]]) -> None:
        addresses: dict[int, str] = {}
        for row in found["ipam/ip-addresses"]:
            if row.get("assigned_object_type") == "dcim.interface" and isinstance(row.get("assigned_object_id"), int):
                addresses.setdefault(row["assigned_object_id"], _text(row, "address").partition("/")[0])
        learned = Interface.objects.filter(learned=True, address__isnull=False).values_list(
            "device__name", "address", "name"
        )
        known = {(device, address): name for device, address, name in learned}
        self._cells: dict[int, dict[str, str]] = {}
        for row in found["dcim/interfaces"]:
            device, address = _text(row, "device", "name"), addresses.get(row["id"], "")
            if device:
                name = known.get((device, address), _text(row, "name"))
                self._cells[row["id"]] = {"device": device, "name": name, "address": address}

    def records(self) -> Iterator[Record]:
        yield from self._cells.items()

    def cables(self, rows: list[Any]) -> Iterator[Record]:
        """Those from one interface to one other."""
        for row in rows:
            a, z = self._end(row.get("a_terminations")), self._end(row.get("b_terminations"))
            if a and z:
                ends = (a["device"], a["name"], z["device"], z["name"])
                yield row["id"], dict(zip(Links.columns, ends, strict=True))

    def _end(self, ends: Any) -> dict[str, str] | None:
        if not isinstance(ends, list) or len(ends) != 1 or not isinstance(ends[0], dict):
            return None
        if ends[0].get("object_type") != "dcim.interface" or not isinstance(ends[0].get("object_id"), int):
            return None
        return self._cells.get(ends[0]["object_id"])


def write(found: Mapping[str, list[Any]], tick: Tick) -> Iterator[Plan]:
    """Plan and write table by table, in the caller's transaction; the first plan with problems is the last."""
    for table, records in stages(found):
        plan = make_plan(table, records, tick)
        if not plan.problems:
            apply_plan(plan, tick)
        yield plan
        if plan.problems:
            return
