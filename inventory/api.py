"""REST of the inventory, under /api/inventory/."""

from typing import Any

from django.db import models
from rest_framework import exceptions, serializers, views
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import MAX_LIMIT, ListView
from inventory import services
from inventory.models import Device, Endpoint, HalfLink, Interface, Link, Prefix, TopologyEvent, TopologySource


class Devices(ListView):
    fields = {
        "id": "id", "name": "name", "router_id": "router_id", "igp_router_id": "igp_router_id", "up": "up",
        "source": "source__name", "first_seen": "first_seen", "changed": "changed",
    }  # fmt: skip
    search = ("name", "igp_router_id", "router_id")
    filters = {"name": "name", "up": "up", "source": "source__name"}
    ordering = ("sort_key", "id", "changed")

    def get_queryset(self) -> models.QuerySet[Any]:
        return Device.objects.all()


class Links(ListView):
    fields = {
        "id": "id", "name": "name", "state": "state", "a_device": "a_device__name", "z_device": "z_device__name",
        "changed": "changed",
    }  # fmt: skip
    search = ("name", "half_links__local_address")
    filters = {"name": "name", "state": "state"}
    ordering = ("sort_key", "id", "changed")

    def get_queryset(self) -> models.QuerySet[Any]:
        return Link.objects.distinct()


class HalfLinks(ListView):
    fields = {
        "id": "id", "link": "link_id", "device": "device__name", "remote_device": "remote_device__name",
        "local_address": "local_address", "remote_address": "remote_address", "igp_metric": "igp_metric",
        "te_metric": "te_metric", "max_bandwidth": "max_bandwidth", "delay_us": "delay_us",
        "adjacency_sids": "adjacency_sids", "up": "up", "changed": "changed",
    }  # fmt: skip
    search = ("device__name", "remote_device__name", "local_address")
    filters = {"link": "link_id", "device": "device__name", "up": "up"}
    ordering = ("id", "changed")

    def get_queryset(self) -> models.QuerySet[Any]:
        return HalfLink.objects.all()


class Interfaces(ListView):
    fields = {"id": "id", "device": "device__name", "name": "name", "address": "address"}
    search = ("name", "device__name")
    filters = {"device": "device__name"}

    def get_queryset(self) -> models.QuerySet[Any]:
        return Interface.objects.all()


class Prefixes(ListView):
    fields = {
        "id": "id", "prefix": "prefix", "device": "device__name", "metric": "metric", "up": "up", "changed": "changed",
    }  # fmt: skip
    search = ("prefix", "device__name")
    filters = {"prefix": "prefix", "device": "device__name", "up": "up"}
    ordering = ("id", "prefix", "changed")

    def get_queryset(self) -> models.QuerySet[Any]:
        return Prefix.objects.all()


class Events(ListView):
    fields = {
        "id": "id", "at": "at", "kind": "kind", "text": "text", "device": "device__name", "link": "link_id",
        "version": "version",
    }  # fmt: skip
    search = ("text",)
    filters = {"kind": "kind", "link": "link_id", "device": "device__name"}
    ordering = ("id", "at")

    def get_queryset(self) -> models.QuerySet[Any]:
        return TopologyEvent.objects.all()


class NewEndpoint(serializers.Serializer[Endpoint]):
    name = serializers.CharField(max_length=120)
    address = serializers.IPAddressField()


class Endpoints(ListView):
    """POST makes an endpoint, or moves the one of that name."""

    fields = {"id": "id", "name": "name", "address": "address"}
    search = ("name", "address")
    filters = {"name": "name"}
    ordering = ("sort_key", "id")

    def get_queryset(self) -> models.QuerySet[Any]:
        return Endpoint.objects.all()

    def post(self, request: Request) -> Response:
        asked = NewEndpoint(data=request.data)
        asked.is_valid(raise_exception=True)
        return _made(self, services.endpoint_set(**asked.validated_data))


class NewSource(serializers.Serializer[TopologySource]):
    """What POST takes; the service checks the values."""

    name = serializers.CharField(max_length=60)
    host = serializers.CharField(max_length=255)
    port = serializers.IntegerField(required=False)
    local_as = serializers.IntegerField(required=False)
    peer_as = serializers.IntegerField(required=False)
    router_id = serializers.IPAddressField(protocol="IPv4", required=False)
    hold_time_s = serializers.IntegerField(required=False)
    enabled = serializers.BooleanField(required=False)


class Sources(ListView):
    fields = {
        name: name
        for name in (
            "id", "name", "host", "port", "local_as", "peer_as", "router_id", "hold_time_s", "enabled", "state",
            "problem", "heard", "synced",
        )
    }  # fmt: skip
    search = ("name", "host")
    filters = {"name": "name", "state": "state"}
    ordering = ("name", "id")

    def get_queryset(self) -> models.QuerySet[Any]:
        return TopologySource.objects.all()

    def post(self, request: Request) -> Response:
        asked = NewSource(data=request.data)
        asked.is_valid(raise_exception=True)
        return _made(self, services.source_create(**asked.validated_data))


def _made(view: ListView, row: models.Model) -> Response:
    """The new row, as the list shows it."""
    values = view.get_queryset().values_list(*view.fields.values()).get(pk=row.pk)
    return Response(dict(zip(view.fields, values, strict=True)), status=201)


class Paths(views.APIView):
    """GET ?source=&target= names of endpoints or devices; optional policy, value, limit."""

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
