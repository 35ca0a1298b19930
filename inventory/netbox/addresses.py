"""ipam/ip-addresses: we keep no addresses of their own, so those of interfaces and the router IDs of devices stand for
them. An interface's address has its id; a router ID has that of its device behind ROUTER, and so has the interface
"router-id" that it is assigned to, which is in no list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_interface
from typing import Any, TypeAlias
from urllib.parse import urlencode

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.filters import truth
from core.api.views import DEFAULT_LIMIT, MAX_LIMIT, number
from core.scope import current_team_id
from inventory.models import Device, Interface
from inventory.netbox.base import ACTIVE, COMMON, whole

ROUTER = 2**48
FAMILIES = {4: {"value": 4, "label": "IPv4"}, 6: {"value": 6, "label": "IPv6"}}
Both: TypeAlias = tuple[Q, Q]
"""The condition on interfaces and the one on devices."""
_NONE = Q(pk__in=[])


def router_address(device: int) -> int:
    """The id of the address that a device's router ID stands for."""
    return ROUTER + device


def address_brief(request: Request | None, pk: int, address: str) -> dict[str, Any]:
    known = ip_address(address)
    return {
        "id": pk,
        "url": _url(request, "ipam/ip-addresses", pk),
        "display": f"{address}/{known.max_prefixlen}",
        "family": FAMILIES[known.version],
        "address": f"{address}/{known.max_prefixlen}",
        "description": "",
    }


def _url(request: Request | None, plural: str, pk: int) -> str:
    path = f"/netbox/api/{plural}/{pk}/"
    return request.build_absolute_uri(path) if request else path


def _ids(values: list[str]) -> Both:
    numbers = [whole(value) for value in values]
    routers = [value - ROUTER for value in numbers if value > ROUTER]
    return Q(pk__in=[value for value in numbers if value <= ROUTER]), Q(pk__in=routers)


def _addresses(values: list[str]) -> Both:
    plain = [str(ip_interface(value).ip) for value in values]
    return Q(address__in=plain), Q(router_id__in=plain)


def _pair(interfaces: str, devices: str, parse: Callable[[str], Any] = str) -> Callable[[list[str]], Both]:
    def both(values: list[str]) -> Both:
        parsed = [parse(value) for value in values]
        return Q(**{interfaces: parsed}), Q(**{devices: parsed})

    return both


def _family(values: list[str]) -> Both:
    six = {whole(value) for value in values}
    if not six <= {4, 6}:
        raise ValueError("A family is 4 or 6.")
    if six == {4, 6}:
        return Q(), Q()
    holds = Q(text__contains=":")
    return (holds, holds) if six == {6} else (~holds, ~holds)


def _always(wanted: str) -> Callable[[list[str]], Both]:
    return lambda values: (Q(), Q()) if wanted in values else (_NONE, _NONE)


def _never(values: list[str]) -> Both:
    return _NONE, _NONE


FILTERS: Mapping[str, Callable[[list[str]], Both]] = {
    "id": _ids,
    "address": _addresses,
    "device": _pair("device__name__in", "name__in"),
    "device_id": _pair("device_id__in", "pk__in", whole),
    "interface": lambda values: (Q(name__in=values), Q() if "router-id" in values else _NONE),
    "interface_id": _ids,
    "family": _family,
    "assigned_to_interface": lambda values: (Q(), Q()) if truth(values[-1]) else (_NONE, _NONE),
    "status": _always("active"),
    "tenant": _pair("team__slug__in", "team__slug__in"),
    "tenant_id": _pair("team_id__in", "team_id__in", whole),
    **dict.fromkeys(("vrf", "vrf_id", "tag", "dns_name", "role", "virtual_machine", "virtual_machine_id"), _never),
}
PAGING = ("q", "limit", "offset", "brief", "ordering", "format")


class IpAddresses(APIView):
    """Addresses of interfaces, and router IDs. Read only."""

    http_method_names = ["get", "head", "options"]
    capability = "view"

    def get(self, request: Request) -> Response:
        asked = dict(request.query_params.lists())
        if unknown := sorted(set(asked) - set(FILTERS) - set(PAGING)):
            raise exceptions.ValidationError({name: [f"Use {', '.join(FILTERS)}."] for name in unknown})
        single = {name: values[-1] for name, values in asked.items()}
        limit = min(number(single, "limit", DEFAULT_LIMIT) or MAX_LIMIT, MAX_LIMIT)
        offset = number(single, "offset", 0)
        try:
            brief = truth(single.get("brief") or "0")
        except ValueError as error:
            raise exceptions.ValidationError({"brief": [str(error)]}) from None
        parts = _narrowed(asked)
        count = sum(part.count() for part in parts)
        page = parts[0].union(parts[1], all=True).order_by("number")[offset : offset + limit]
        return Response(
            {
                "count": count,
                "next": _link(request, limit, offset + limit) if offset + limit < count else None,
                "previous": _link(request, limit, max(0, offset - limit)) if offset else None,
                "results": [_shape(request, row, brief=brief) for row in page],
            }
        )


class IpAddress(APIView):
    """One of them."""

    http_method_names = ["get", "head", "options"]
    capability = "view"

    def get(self, request: Request, pk: int) -> Response:
        for part in _narrowed({"id": [str(pk)]}):
            if row := part.first():
                return Response(_shape(request, row))
        raise exceptions.NotFound(f"There is no IP address {pk}.")


def _narrowed(asked: Mapping[str, list[str]]) -> list[models.QuerySet[Any, Any]]:
    text: models.TextField[str, str] = models.TextField()
    interfaces = Interface.objects.filter(address__isnull=False).annotate(
        number=F("pk"), ip=F("address"), port=F("pk"), port_name=F("name"), owner=F("device_id"),
        owner_name=F("device__name"), text=Cast("address", text),
    )  # fmt: skip
    routers = Device.objects.filter(router_id__isnull=False).annotate(
        number=F("pk") + ROUTER, ip=F("router_id"), port=F("pk") + ROUTER, port_name=Value("router-id"), owner=F("pk"),
        owner_name=F("name"), text=Cast("router_id", text),
    )  # fmt: skip
    for name, values in asked.items():
        if name in FILTERS:
            try:
                near, far = FILTERS[name](values)
            except ValueError as error:
                raise exceptions.ValidationError({name: [f"{values[0]!r} cannot be used here: {error}"]}) from None
            interfaces, routers = interfaces.filter(near), routers.filter(far)
    if words := asked.get("q", [""])[-1].strip():
        wanted = Q(text__contains=words) | Q(owner_name__icontains=words)
        interfaces, routers = interfaces.filter(wanted), routers.filter(wanted)
    columns = ("number", "ip", "port", "port_name", "owner", "owner_name")
    return [interfaces.values_list(*columns), routers.values_list(*columns)]


def _shape(request: Request, row: Any, *, brief: bool = False) -> dict[str, Any]:
    key, address, port, port_name, owner, owner_name = row
    found = address_brief(request, key, address)
    if brief:
        return found
    device = {
        "id": owner,
        "url": _url(request, "dcim/devices", owner),
        "display": owner_name,
        "name": owner_name,
        "description": "",
    }
    end = {
        "id": port,
        "url": _url(request, "dcim/interfaces", port),
        "display": port_name,
        "device": device,
        "name": port_name,
        "description": "",
        "cable": None,
        "_occupied": False,
    }
    return {
        **found,
        **COMMON,
        "vrf": None,
        "tenant": _tenant(request),
        "status": ACTIVE,
        "role": None,
        "assigned_object_type": "dcim.interface",
        "assigned_object_id": port,
        "assigned_object": end,
        "nat_inside": None,
        "nat_outside": [],
        "dns_name": "",
        "created": None,
        "last_updated": None,
    }


def _tenant(request: Request) -> dict[str, Any]:
    seat: Any = request.seat  # type: ignore[attr-defined]
    return {
        "id": current_team_id(),
        "url": _url(request, "tenancy/tenants", current_team_id()),
        "display": seat.name,
        "name": seat.name,
        "slug": seat.slug,
        "description": "",
    }


def _link(request: Request, limit: int, offset: int) -> str:
    kept = [(name, each) for name, values in request.query_params.lists() for each in values]
    query = [pair for pair in kept if pair[0] not in ("limit", "offset")]
    query += [("limit", str(limit)), ("offset", str(offset))]
    return f"{request.build_absolute_uri(request.path)}?{urlencode(query)}"
