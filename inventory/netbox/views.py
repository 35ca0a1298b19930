"""What of NetBox's API is not a list of ours: the root, status, the schema, and lists of what we have none of."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.shortcuts import get_object_or_404
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.models import Device, Interface
from inventory.netbox import VERSION
from inventory.netbox.addresses import FILTERS, PAGING, ROUTER
from inventory.netbox.shapes import RESOURCES, Interfaces

APPS = ("circuits", "core", "dcim", "extras", "ipam", "tenancy", "users", "virtualization", "vpn", "wireless")
EMPTY: dict[str, str] = {
    "circuits": "circuits circuit-groups circuit-terminations circuit-types provider-accounts provider-networks"
    " providers",
    "core": "data-files data-sources jobs object-changes",
    "dcim": "cable-terminations connected-device console-port-templates console-ports console-server-ports device-bays"
    " device-bay-templates front-ports interface-templates inventory-item-roles inventory-items locations mac-addresses"
    " module-bays module-types modules power-feeds power-outlets power-panels power-ports rack-groups rack-reservations"
    " rack-roles rack-types racks rear-ports regions site-groups virtual-chassis virtual-device-contexts",
    "extras": "bookmarks config-contexts config-templates custom-field-choice-sets custom-fields custom-links"
    " event-rules export-templates image-attachments journal-entries saved-filters scripts tags webhooks",
    "ipam": "aggregates asn-ranges asns fhrp-group-assignments fhrp-groups ip-ranges rirs roles route-targets"
    " service-templates services vlan-groups vlans vrfs",
    "tenancy": "contact-assignments contact-groups contact-roles contacts tenant-groups",
    "users": "groups permissions tokens users",
    "virtualization": "cluster-groups cluster-types clusters interfaces virtual-disks virtual-machines",
    "vpn": "ike-policies ike-proposals ipsec-policies ipsec-profiles ipsec-proposals l2vpn-terminations l2vpns"
    " tunnel-groups tunnel-terminations tunnels",
    "wireless": "wireless-lan-groups wireless-lans wireless-links",
}
_LISTS = ("limit", "offset", "q", "ordering", "brief", "fields", "omit", "format")


class ReadOnly(APIView):
    http_method_names = ["get", "head", "options"]
    capability = "view"


class Open(ReadOnly):
    """The same for everybody, so nobody is asked who they are: pynetbox sends no token here."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()


class Root(Open):
    """The rooms of the API."""

    def get(self, request: Request) -> Response:
        here = request.build_absolute_uri(request.path)
        return Response({name: f"{here}{name}/" for name in (*APPS, "status", "schema")})


class App(ReadOnly):
    """The lists of one room."""

    def get(self, request: Request, app: str) -> Response:
        if app not in APPS:
            raise exceptions.NotFound
        here = request.build_absolute_uri(request.path)
        return Response({name: f"{here}{name}/" for name in sorted(_names(app))})


def _names(app: str) -> list[str]:
    ours = [each.plural for each in RESOURCES if each.app == app]
    return [*ours, *(["ip-addresses"] if app == "ipam" else []), *EMPTY.get(app, "").split()]


class Status(ReadOnly):
    """Which NetBox this looks like."""

    def get(self, request: Request) -> Response:
        return Response(
            {
                "netbox-version": VERSION,
                "netbox-full-version": VERSION,
                "django-version": "",
                "python-version": "",
                "installed-apps": {},
                "plugins": {},
                "rq-workers-running": 0,
            }
        )


class NoRows(ReadOnly):
    """A list of what netops has none of, whatever is asked of it."""

    def get(self, request: Request) -> Response:
        return Response({"count": 0, "next": None, "previous": None, "results": []})


class NoRow(ReadOnly):
    """One of what netops has none of."""

    def get(self, request: Request, pk: int) -> Response:
        raise exceptions.NotFound


class RouterPort(ReadOnly):
    """The interface that a router ID is assigned to."""

    def get(self, request: Request, pk: str) -> Response:
        owners = Device.objects.select_related("team").filter(router_id__isnull=False)
        device = get_object_or_404(owners, pk=int(pk) - ROUTER)
        port = Interface(pk=int(pk), device=device, name="router-id", address=device.router_id, team=device.team)
        port.cable = None  # type: ignore[attr-defined]
        return Response(Interfaces.plan().row_of(port, request))


class Schema(Open):
    """The query parameters of every list, as OpenAPI."""

    def get(self, request: Request) -> Response:
        return Response(_schema())


@cache
def _schema() -> dict[str, Any]:
    """Every list twice, because nb_inventory looks under its whole path and pynetbox under /api/."""
    paths = {}
    for app in APPS:
        for name in _names(app):
            operation = {"get": {"parameters": [_parameter(each) for each in _parameters(app, name)], "responses": {}}}
            paths[f"/api/{app}/{name}/"] = paths[f"/netbox/api/{app}/{name}/"] = operation
    return {"openapi": "3.0.3", "info": {"title": "NetBox REST API", "version": VERSION}, "paths": paths}


def _parameters(app: str, name: str) -> list[str]:
    if (app, name) == ("ipam", "ip-addresses"):
        return sorted({*FILTERS, *PAGING})
    # nb_inventory gives its filters for hosts to both lists of hosts.
    app, name = ("dcim", "devices") if name == "virtual-machines" else (app, name)
    for resource in RESOURCES:
        if (resource.app, resource.plural) == (app, name):
            return sorted({*resource.filters(), *_LISTS, "start"})
    return ["id", "name", "slug", *_LISTS]


def _parameter(name: str) -> dict[str, Any]:
    return {"in": "query", "name": name, "schema": {"type": "string"}}
