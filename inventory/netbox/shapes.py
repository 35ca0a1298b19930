"""Our inventory in NetBox's shapes: sites, roles, types, manufacturers, platforms, devices, interfaces, cables,
prefixes and, as the only tenant, the team."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, JSONObject
from rest_framework import serializers
from rest_framework.request import Request

from core.api.fields import Ref
from core.api.filters import Filter, truth
from core.scope import current_team_id
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Interface,
    Link,
    Manufacturer,
    Platform,
    Prefix,
    Site,
)
from inventory.netbox.addresses import FAMILIES, address_brief, router_address
from inventory.netbox.base import ACTIVE, NOWHERE, Always, Facade, FacadeRow, Ignored, Made, nothing, through, whole
from tenancy.models import Team

_BRIEF = ("id", "url", "display", "name", "slug", "description")
_SLUGGED = ("id", "url", "display", "name", "slug", "tenant")
_UNDATED = {"created": None, "last_updated": None}
_TENANT = through("tenant", "team")


def _count(rows: models.QuerySet[Any], path: str) -> Any:
    """How many of `rows` lead to a row by `path`."""
    found = rows.filter(**{path: OuterRef("pk")}).order_by().values(path).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(found), 0)


def _integer() -> serializers.IntegerField:
    return serializers.IntegerField(read_only=True)


class TenantRow(FacadeRow):
    tenant = None  # type: ignore[assignment]

    class Meta:
        model = Team
        fields = ("id", "url", "display", "name", "slug")
        brief = _BRIEF
        fixed: ClassVar[dict[str, Any]] = {"group": None, **_UNDATED}


class Tenants(Facade):
    """The team itself is the only tenant."""

    row, app, plural = TenantRow, "tenancy", "tenants"
    search = ("name", "slug")
    more_filters = nothing("group", "tag")

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Team.objects.filter(pk=current_team_id())


class SiteRow(FacadeRow):
    device_count = _integer()
    prefix_count = _integer()

    class Meta:
        model = Site
        fields = (*_SLUGGED, "device_count", "prefix_count")
        brief = _BRIEF
        fixed: ClassVar[dict[str, Any]] = {
            "status": ACTIVE, "region": None, "group": None, "facility": "", "time_zone": None, "physical_address": "",
            "shipping_address": "", "latitude": None, "longitude": None, "asns": [], "circuit_count": 0,
            "rack_count": 0, "virtualmachine_count": 0, "vlan_count": 0, **_UNDATED,
        }  # fmt: skip


class Sites(Facade):
    row, app, plural = SiteRow, "dcim", "sites"
    search, ordering = ("name", "slug"), ("name",)
    more_filters = {**NOWHERE, **_TENANT, **nothing("group", "asn"), "status": Always("active", "string")}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        prefixes = _count(Prefix.objects.all(), "device__site")
        return Site.objects.annotate(device_count=_count(Device.objects.all(), "site"), prefix_count=prefixes)


class DeviceRoleRow(FacadeRow):
    device_count = _integer()

    class Meta:
        model = DeviceRole
        fields = (*_SLUGGED, "device_count")
        brief = _BRIEF
        fixed: ClassVar[dict[str, Any]] = {
            "color": "9e9e9e", "vm_role": False, "config_template": None, "parent": None, "virtualmachine_count": 0,
            "_depth": 0, **_UNDATED,
        }  # fmt: skip


class DeviceRoles(Facade):
    row, app, plural = DeviceRoleRow, "dcim", "device-roles"
    search, ordering = ("name", "slug"), ("name",)
    more_filters = {**nothing("tag", "parent"), **_TENANT}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return DeviceRole.objects.annotate(device_count=_count(Device.objects.all(), "role"))


class ManufacturerRow(FacadeRow):
    devicetype_count = _integer()

    class Meta:
        model = Manufacturer
        fields = (*_SLUGGED, "devicetype_count")
        brief = _BRIEF
        fixed: ClassVar[dict[str, Any]] = {"inventoryitem_count": 0, "platform_count": 0, **_UNDATED}


class Manufacturers(Facade):
    row, app, plural = ManufacturerRow, "dcim", "manufacturers"
    search, ordering = ("name", "slug"), ("name",)
    more_filters = {**nothing("tag"), **_TENANT}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Manufacturer.objects.annotate(devicetype_count=_count(DeviceType.objects.all(), "manufacturer"))


class DeviceTypeRow(FacadeRow):
    model = serializers.CharField(source="name", read_only=True)
    device_count = _integer()

    class Meta:
        model = DeviceType
        fields = ("id", "url", "display", "manufacturer", "model", "slug", "tenant", "device_count")
        brief = ("id", "url", "display", "manufacturer", "model", "slug", "description")
        fixed: ClassVar[dict[str, Any]] = {
            "default_platform": None, "part_number": "", "u_height": 1.0, "exclude_from_utilization": False,
            "is_full_depth": True, "subdevice_role": None, "airflow": None, "weight": None, "weight_unit": None,
            "front_image": None, "rear_image": None, "interface_template_count": 0, **_UNDATED,
        }  # fmt: skip


class DeviceTypes(Facade):
    row, app, plural = DeviceTypeRow, "dcim", "device-types"
    search, ordering = ("name", "slug", "manufacturer__name"), ("manufacturer", "model")
    more_filters = {**nothing("tag"), **_TENANT}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return DeviceType.objects.annotate(device_count=_count(Device.objects.all(), "device_type"))


class PlatformRow(FacadeRow):
    device_count = _integer()

    class Meta:
        model = Platform
        fields = (*_SLUGGED, "device_count")
        brief = _BRIEF
        fixed: ClassVar[dict[str, Any]] = {
            "manufacturer": None, "config_template": None, "parent": None, "virtualmachine_count": 0, "_depth": 0,
            **_UNDATED,
        }  # fmt: skip


class Platforms(Facade):
    row, app, plural = PlatformRow, "dcim", "platforms"
    search, ordering = ("name", "slug"), ("name",)
    more_filters = {**nothing("tag", "manufacturer", "parent"), **_TENANT}

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Platform.objects.annotate(device_count=_count(Device.objects.all(), "platform"))


def _primary(family: int | None) -> Made:
    def make(request: Request | None, pk: int, address: str | None) -> Any:
        if address is None or family not in (None, 6 if ":" in address else 4):
            return None
        return address_brief(request, router_address(pk), address)

    return Made(make, "id", "router_id", addressed=True)


class DeviceRow(FacadeRow):
    primary_ip = _primary(None)
    primary_ip4 = _primary(4)
    primary_ip6 = _primary(6)
    created = serializers.DateTimeField(source="first_seen", read_only=True)
    last_updated = serializers.DateTimeField(source="changed", read_only=True)
    interface_count = _integer()

    class Meta:
        model = Device
        fields = (
            "id", "url", "display", "name", "device_type", "role", "tenant", "platform", "serial", "site", "status",
            "primary_ip", "primary_ip4", "primary_ip6", "created", "last_updated", "interface_count",
        )  # fmt: skip
        brief = ("id", "url", "display", "name", "description")
        fixed: ClassVar[dict[str, Any]] = {
            "asset_tag": None, "location": None, "rack": None, "position": None, "face": None, "latitude": None,
            "longitude": None, "parent_device": None, "airflow": None, "oob_ip": None, "cluster": None,
            "virtual_chassis": None, "vc_position": None, "vc_priority": None, "config_template": None,
            "config_context": {}, "local_context_data": None, "console_port_count": 0,
            "console_server_port_count": 0, "power_port_count": 0, "power_outlet_count": 0, "front_port_count": 0,
            "rear_port_count": 0, "device_bay_count": 0, "module_bay_count": 0, "inventory_item_count": 0,
        }  # fmt: skip


class Devices(Facade):
    row, app, plural = DeviceRow, "dcim", "devices"
    search, ordering = ("name", "serial", "igp_router_id", "router_id"), ("name",)
    more_filters = {
        **NOWHERE, **_TENANT, **through("manufacturer", "device_type__manufacturer"), **through("model", "device_type"),
        **nothing("cluster", "cluster_group", "virtual_chassis", "asset_tag", "mac_address", "parent_device",
                  "config_template", "local_context_data", "oob_ip", "has_oob_ip"),
        "has_primary_ip": Filter("router_id__isnull", "boolean", True, parse=truth),
        "exclude": Ignored("", "string"),
    }  # fmt: skip

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        return Device.objects.annotate(interface_count=_count(Interface.objects.all(), "device"))


def _cable(request: Request | None, link: dict[str, Any] | None) -> Any:
    if link is None:
        return None
    return {
        "id": link["id"],
        "url": Cables.url_of(link["id"], request),
        "display": link["name"],
        "label": link["name"],
        "description": "",
    }


class InterfaceRow(FacadeRow):
    cable = Made(_cable, "cable", addressed=True)
    cable_end = Made(lambda pk, cable: "" if cable is None else "A" if cable["a"] == pk else "B", "id", "cable")
    count_ipaddresses = Made(lambda address: int(address is not None), "address")
    _occupied = Made(lambda cable: cable is not None, "cable")

    class Meta:
        model = Interface
        fields = (
            "id", "url", "display", "device", "name", "tenant", "cable", "cable_end", "count_ipaddresses", "_occupied",
        )  # fmt: skip
        brief = ("id", "url", "display", "device", "name", "description")
        fixed: ClassVar[dict[str, Any]] = {
            "vdcs": [], "module": None, "label": "", "type": {"value": "other", "label": "Other"}, "enabled": True,
            "parent": None, "bridge": None, "bridge_interfaces": [], "lag": None, "mtu": None, "mac_address": None,
            "primary_mac_address": None, "mac_addresses": [], "speed": None, "duplex": None, "wwn": None,
            "mgmt_only": False, "mode": None, "rf_role": None, "rf_channel": None, "poe_mode": None, "poe_type": None,
            "rf_channel_frequency": None, "rf_channel_width": None, "tx_power": None, "untagged_vlan": None,
            "tagged_vlans": [], "qinq_svlan": None, "vlan_translation_policy": None, "mark_connected": False,
            "wireless_link": None, "link_peers": [], "link_peers_type": None, "wireless_lans": [], "vrf": None,
            "l2vpn_termination": None, "connected_endpoints": None, "connected_endpoints_type": None,
            "connected_endpoints_reachable": None, "count_fhrp_groups": 0, **_UNDATED,
        }  # fmt: skip


class Interfaces(Facade):
    row, app, plural = InterfaceRow, "dcim", "interfaces"
    search, ordering = ("name", "address"), ("device", "name")
    more_filters = {
        **NOWHERE, **_TENANT, **through("site", "device__site"), **through("role", "device__role"),
        **nothing("mac_address", "lag", "parent", "bridge", "module", "vlan", "wireless_lan", "virtual_chassis"),
        "cabled": Filter("cable__isnull", "boolean", True, parse=truth),
        "enabled": Always("true", "boolean"),
        "type": Always("other", "string"),
    }  # fmt: skip

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        # The first link at an interface: a port of a LAN that was learned has several.
        ends = Link.objects.filter(Q(a_interface=OuterRef("pk")) | Q(z_interface=OuterRef("pk"))).order_by("id")
        brief = JSONObject(id="id", name="name", a="a_interface_id")
        return Interface.objects.annotate(cable=Subquery(ends.values(brief=brief)[:1]))


def _terminations(side: str) -> Made:
    def make(request: Request | None, pk: int | None, name: str, device: int, device_name: str, link: int) -> Any:
        if pk is None:
            return []
        owner = {
            "id": device,
            "url": Devices.url_of(device, request),
            "display": device_name,
            "name": device_name,
            "description": "",
        }
        end = {
            "id": pk,
            "url": Interfaces.url_of(pk, request),
            "display": name,
            "device": owner,
            "name": name,
            "description": "",
            "cable": link,
            "_occupied": True,
        }
        return [{"object_type": "dcim.interface", "object_id": pk, "object": end}]

    ends = (f"{side}_interface_id", f"{side}_interface__name", f"{side}_device_id", f"{side}_device__name", "id")
    return Made(make, *ends, addressed=True)


class CableRow(FacadeRow):
    label = serializers.CharField(source="name", read_only=True)  # type: ignore[assignment]
    a_terminations = _terminations("a")
    b_terminations = _terminations("z")
    last_updated = serializers.DateTimeField(source="changed", read_only=True)

    class Meta:
        model = Link
        fields = ("id", "url", "display", "a_terminations", "b_terminations", "tenant", "label", "last_updated")
        brief = ("id", "url", "display", "label", "description")
        fixed: ClassVar[dict[str, Any]] = {
            "type": None, "status": {"value": "connected", "label": "Connected"}, "profile": None, "color": "",
            "length": None, "length_unit": None, "created": None,
        }  # fmt: skip


class _Either(Filter):
    """By something of the device at either end; `lookup` starts behind a_device or z_device."""

    def q(self, values: list[str]) -> Q:
        parsed = [self.parse(value) for value in values]
        return Q(**{f"a_device{self.lookup}": parsed}) | Q(**{f"z_device{self.lookup}": parsed})


class Cables(Facade):
    """Links: what the network told us and what was written down."""

    row, app, plural = CableRow, "dcim", "cables"
    search, ordering = ("name",), ("label",)
    more_filters = {
        **NOWHERE, **_TENANT, **nothing("type", "color"), "status": Always("connected", "string"),
        "device": _Either("__name__in", "string"), "device_id": _Either("_id__in", "integer", parse=whole),
        "site": _Either("__site__slug__in", "string"), "site_id": _Either("__site_id__in", "integer", parse=whole),
        "termination_a_type": Always("dcim.interface", "string"),
        "termination_b_type": Always("dcim.interface", "string"),
    }  # fmt: skip


class _Scope(Ref):
    model = Site


class PrefixRow(FacadeRow):
    family = Made(lambda text: FAMILIES[6 if ":" in text else 4], "prefix")
    scope = _Scope(source="device.site", read_only=True)
    scope_type = Made(lambda site: "dcim.site" if site else None, "device__site_id")
    scope_id = serializers.IntegerField(source="device.site_id", read_only=True)
    last_updated = serializers.DateTimeField(source="changed", read_only=True)

    class Meta:
        model = Prefix
        fields = (
            "id", "url", "display", "family", "prefix", "scope_type", "scope_id", "scope", "tenant", "last_updated",
        )  # fmt: skip
        brief = ("id", "url", "display", "family", "prefix", "description")
        display = ("prefix",)
        fixed: ClassVar[dict[str, Any]] = {
            "vrf": None, "vlan": None, "status": ACTIVE, "role": None, "is_pool": False, "mark_utilized": False,
            "children": 0, "_depth": 0, "created": None,
        }  # fmt: skip


class Prefixes(Facade):
    """Prefixes as devices announce them: one that two announce is there twice."""

    row, app, plural = PrefixRow, "ipam", "prefixes"
    search, ordering = ("prefix",), ("id",)
    more_filters = {
        **NOWHERE, **_TENANT, **through("site", "device__site"), **nothing("vlan", "role"),
        "status": Always("active", "string"),
    }  # fmt: skip


RESOURCES: tuple[type[Facade], ...] = (
    Tenants, Sites, DeviceRoles, Manufacturers, DeviceTypes, Platforms, Devices, Interfaces, Cables, Prefixes,
)  # fmt: skip
