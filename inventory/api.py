"""REST of the inventory, under /api/inventory/."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, views
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.resource import Resource
from core.api.rows import Row
from core.api.views import MAX_LIMIT
from inventory import services, written
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Endpoint,
    HalfLink,
    Interface,
    Link,
    Manufacturer,
    Platform,
    Prefix,
    Site,
    TopologyEvent,
    TopologySource,
)

_SLUGGED = ("id", "url", "display", "name", "slug")


class Organised(Resource):
    """What sites, roles, manufacturers, types and platforms share."""

    search = ("name", "slug")
    ordering = ("name",)

    @classmethod
    def create(cls, **values: Any) -> Any:
        model: Any = cls.row.Meta.model
        return written.organised_create(model=model, **values)

    @classmethod
    def update(cls, row: Any, **values: Any) -> Any:
        return written.organised_update(row=row, **values)

    @classmethod
    def delete(cls, row: Any) -> None:
        written.organised_delete(row=row)


class OrganisedRow(Row):
    slug = serializers.SlugField(max_length=100, required=False)


class SiteRow(OrganisedRow):
    class Meta:
        model = Site
        fields = brief = _SLUGGED


class Sites(Organised):
    """Sites: where devices stand."""

    row, plural = SiteRow, "sites"


class DeviceRoleRow(OrganisedRow):
    class Meta:
        model = DeviceRole
        fields = brief = _SLUGGED


class DeviceRoles(Organised):
    """Device roles: what devices are for."""

    row, plural = DeviceRoleRow, "device-roles"


class ManufacturerRow(OrganisedRow):
    class Meta:
        model = Manufacturer
        fields = brief = _SLUGGED


class Manufacturers(Organised):
    """Manufacturers of device types."""

    row, plural = ManufacturerRow, "manufacturers"


class DeviceTypeRow(OrganisedRow):
    class Meta:
        model = DeviceType
        fields = ("id", "url", "display", "name", "slug", "manufacturer")
        brief = _SLUGGED


class DeviceTypes(Organised):
    """Device types: models of a manufacturer."""

    row, plural = DeviceTypeRow, "device-types"


class PlatformRow(OrganisedRow):
    class Meta:
        model = Platform
        fields = brief = _SLUGGED


class Platforms(Organised):
    """Platforms: the operating systems of devices."""

    row, plural = PlatformRow, "platforms"


class SourceRow(Row):
    password = serializers.CharField(write_only=True, required=False, allow_blank=True, max_length=80)

    class Meta:
        model = TopologySource
        fields = (
            "id", "url", "display", "name", "host", "port", "local_as", "peer_as", "router_id", "hold_time_s",
            "password", "enabled", "state", "problem", "heard", "synced",
        )  # fmt: skip
        read_only_fields = ("state", "problem", "heard", "synced")
        brief = ("id", "url", "display", "name")


class Sources(Resource):
    """BGP-LS peers that the topology is learned from. The password (RFC 2385) can be written, never read."""

    row, plural = SourceRow, "sources"
    search, ordering = ("name", "host"), ("name",)

    @staticmethod
    def create(**values: Any) -> TopologySource:
        return services.source_create(**values)

    @staticmethod
    def update(row: TopologySource, **values: Any) -> TopologySource:
        return services.source_update(source=row, **values)

    @staticmethod
    def delete(row: TopologySource) -> None:
        services.source_delete(source=row)


class DeviceRow(Row):
    class Meta:
        model = Device
        fields = (
            "id", "url", "display", "name", "status", "site", "role", "device_type", "platform", "serial", "router_id",
            "igp_router_id", "up", "source", "first_seen", "changed",
        )  # fmt: skip
        read_only_fields = ("igp_router_id", "up", "source", "first_seen", "changed")
        brief = ("id", "url", "display", "name")


class Devices(Resource):
    """Devices, learned or written down. What the network says of a learned one cannot be changed here."""

    row, plural = DeviceRow, "devices"
    search, ordering = ("name", "igp_router_id", "router_id"), ("name",)

    @staticmethod
    def create(**values: Any) -> Device:
        return written.device_create(**values)

    @staticmethod
    def update(row: Device, **values: Any) -> Device:
        return written.device_update(device=row, **values)

    @staticmethod
    def delete(row: Device) -> None:
        written.device_delete(device=row)


class InterfaceRow(Row):
    class Meta:
        model = Interface
        fields = ("id", "url", "display", "device", "name", "address", "learned")
        read_only_fields = ("learned",)
        brief = ("id", "url", "display", "device", "name")


class Interfaces(Resource):
    """Interfaces of devices."""

    row, plural = InterfaceRow, "interfaces"
    search = ("name", "address")

    @staticmethod
    def create(**values: Any) -> Interface:
        return written.interface_create(**values)

    @staticmethod
    def update(row: Interface, **values: Any) -> Interface:
        return written.interface_update(interface=row, **values)

    @staticmethod
    def delete(row: Interface) -> None:
        written.interface_delete(interface=row)


class LinkRow(Row):
    class Meta:
        model = Link
        fields = (
            "id", "url", "display", "name", "state", "a_device", "a_interface", "z_device", "z_interface", "learned",
            "changed",
        )  # fmt: skip
        read_only_fields = ("name", "state", "a_device", "z_device", "learned", "changed")
        extra_kwargs = {each: {"required": True, "allow_null": False} for each in ("a_interface", "z_interface")}
        brief = ("id", "url", "display", "name")


class Links(Resource):
    """Links between devices; one that is written down joins two interfaces."""

    row, plural = LinkRow, "links"
    search, ordering = ("name", "a_interface__address", "z_interface__address"), ("name",)

    @staticmethod
    def create(**values: Any) -> Link:
        return written.link_create(**values)

    @staticmethod
    def update(row: Link, **values: Any) -> Link:
        return written.link_update(link=row, **values)

    @staticmethod
    def delete(row: Link) -> None:
        written.link_delete(link=row)


class HalfLinkRow(Row):
    class Meta:
        model = HalfLink
        fields = (
            "id", "url", "display", "link", "device", "remote_device", "interface", "local_address", "remote_address",
            "igp_metric", "te_metric", "max_bandwidth", "delay_us", "adjacency_sids", "up", "source", "changed",
        )  # fmt: skip
        brief = ("id", "url", "display", "device", "remote_device")
        display = ("device__name", "remote_device__name")


class HalfLinks(Resource):
    """Half-links (RFC 9552): one direction of a link, as its device announces it."""

    row, plural = HalfLinkRow, "half-links"
    search = ("device__name", "remote_device__name", "local_address")


class PrefixRow(Row):
    class Meta:
        model = Prefix
        fields = ("id", "url", "display", "prefix", "device", "metric", "up", "source", "changed")
        brief = ("id", "url", "display", "prefix")
        display = ("prefix",)


class Prefixes(Resource):
    """Prefixes and the devices that announce them."""

    row, plural = PrefixRow, "prefixes"
    search = ("prefix", "device__name")


class EventRow(Row):
    class Meta:
        model = TopologyEvent
        fields = ("id", "url", "display", "at", "kind", "text", "device", "link", "version")
        brief = ("id", "url", "display", "at", "kind")
        display = ("text",)


class Events(Resource):
    """The history of the topology, the newest first."""

    row, plural = EventRow, "events"
    search, ordering = ("text",), ("-id",)


class EndpointRow(Row):
    class Meta:
        model = Endpoint
        fields = ("id", "url", "display", "name", "address")
        brief = fields


class Endpoints(Resource):
    """Hosts that paths end at."""

    row, plural = EndpointRow, "endpoints"
    search, ordering = ("name", "address"), ("name",)

    @staticmethod
    def create(**values: Any) -> Endpoint:
        return services.endpoint_create(**values)

    @staticmethod
    def update(row: Endpoint, **values: Any) -> Endpoint:
        return written.endpoint_update(endpoint=row, **values)

    @staticmethod
    def delete(row: Endpoint) -> None:
        written.endpoint_delete(endpoint=row)


RESOURCES = (
    Sites, DeviceRoles, Manufacturers, DeviceTypes, Platforms, Sources, Devices, Interfaces, Links, HalfLinks, Prefixes,
    Events, Endpoints,
)  # fmt: skip


_FOUND = {
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "truncated": {"type": "boolean"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "hops": {"type": "array", "items": {"type": "string"}},
                    "half_links": {"type": "array", "items": {"type": "integer"}},
                    "cost": {"type": "number"},
                },
            },
        },
    },
}


class Paths(views.APIView):
    """The paths between two endpoints or devices, by name; `policy`, `value` and `limit` as in a campaign."""

    @extend_schema(
        parameters=[
            OpenApiParameter("source", str, required=True, description="name of an endpoint or device"),
            OpenApiParameter("target", str, required=True, description="name of an endpoint or device"),
            OpenApiParameter("policy", str, enum=["all", "all_shortest", "k_shortest", "within_hops"]),
            OpenApiParameter("value", int, description="k, or n extra hops"),
            OpenApiParameter("limit", int),
        ],
        responses={200: _FOUND},
    )
    def get(self, request: Request) -> Response:
        # networkx is loaded by the first who asks.
        from inventory.graph import UnknownName, find_paths
        from inventory.paths import PathError

        asked = request.query_params
        for name in ("source", "target"):
            if not asked.get(name):
                raise exceptions.ValidationError({name: ["Name an endpoint or a device."]})
        value, limit = _whole(request, "value"), _whole(request, "limit")
        limit = MAX_LIMIT if limit is None else min(limit, MAX_LIMIT)
        try:
            found = find_paths(asked["source"], asked["target"], asked.get("policy") or "all", value, limit)
        except UnknownName as error:
            raise exceptions.ValidationError({error.field: [str(error)]}) from None
        except PathError as error:
            raise exceptions.ValidationError({"detail": [str(error)]}) from None
        results = [{"hops": each.hops, "half_links": each.half_links, "cost": each.cost} for each in found.routes]
        listed = {"count": found.count, "next": None, "previous": None, "results": results}
        return Response({**listed, "truncated": found.truncated})


def _whole(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise exceptions.ValidationError({name: [f"{text[:40]!r} is not a whole number from 0 up."]})
    return int(text) if text else None
