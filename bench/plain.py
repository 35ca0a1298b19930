"""The list of devices as Django REST framework has it out of the box: the baseline of bench/api.py."""

from typing import Any

from django.urls import path
from rest_framework import generics, pagination, renderers, serializers

from inventory.models import Device, DeviceRole, DeviceType, Platform, Site, TopologySource
from netops.urls import urlpatterns as served


class Named(serializers.ModelSerializer[Any]):
    url = serializers.SerializerMethodField()
    display = serializers.CharField(source="name")

    def get_url(self, row: Any) -> str:
        address: str = self.context["request"].build_absolute_uri(f"/api/inventory/{self.Meta.plural}/{row.pk}/")
        return address

    class Meta:
        model: Any
        fields = ("id", "url", "display", "name", "slug")
        plural = ""


def _nested(of: Any, named: str, *names: str) -> type[Named]:
    meta = type("Meta", (), {"model": of, "fields": ("id", "url", "display", "name", *names), "plural": named})
    return type(of.__name__, (Named,), {"Meta": meta})


class PlainDevice(Named):
    status = serializers.SerializerMethodField()
    site = _nested(Site, "sites", "slug")()
    role = _nested(DeviceRole, "device-roles", "slug")()
    device_type = _nested(DeviceType, "device-types", "slug")()
    platform = _nested(Platform, "platforms", "slug")()
    source: Any = _nested(TopologySource, "sources")()

    class Meta:
        model = Device
        fields = (
            "id", "url", "display", "name", "status", "site", "role", "device_type", "platform", "serial", "router_id",
            "igp_router_id", "up", "source", "first_seen", "changed",
        )  # fmt: skip
        plural = "devices"

    def get_status(self, row: Device) -> dict[str, str]:
        return {"value": row.status, "label": row.get_status_display()}


class Pages(pagination.LimitOffsetPagination):
    max_limit = 1000


class PlainDevices(generics.ListAPIView[Device]):
    serializer_class = PlainDevice
    pagination_class = Pages
    renderer_classes = [renderers.JSONRenderer]

    def get_queryset(self) -> Any:
        related = ("site", "role", "device_type", "platform", "source")
        return Device.objects.select_related(*related).order_by("sort_key", "pk")


urlpatterns = [*served, path("api/plain/devices/", PlainDevices.as_view())]
