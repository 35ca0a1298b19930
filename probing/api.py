"""REST of campaigns, their paths and history."""

import struct
from datetime import timedelta
from typing import Any

from django.db import models
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.fields import Ref, Refs, brief_rows
from core.api.resource import Resource
from core.api.rows import Row
from inventory.api import Endpoints
from inventory.models import Endpoint
from probing.models import Campaign, CampaignTarget, Path, PathMinute
from probing.services import campaign_create, campaign_delete, campaign_update

MAX_HOURS = 48


class CampaignRow(Row):
    targets = Refs(child_relation=Ref(queryset=Endpoint.objects), allow_empty=False)

    class Meta:
        model = Campaign
        fields = (
            "id", "url", "display", "name", "agent", "targets", "policy", "policy_value", "style", "rate",
            "loss_percent", "latency_ms", "enabled", "planned", "planned_version", "notes",
        )  # fmt: skip
        read_only_fields = ("planned", "planned_version", "notes")
        brief = ("id", "url", "display", "name")


class Campaigns(Resource):
    """Campaigns: which paths are probed, from where, how often. A change plans the paths anew."""

    row, plural = CampaignRow, "campaigns"
    search, ordering = ("name",), ("name",)

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        targets = CampaignTarget.objects.filter(campaign=models.OuterRef("pk")).order_by("endpoint__sort_key", "id")
        return Campaign.objects.annotate(targets_rows=brief_rows(Endpoints, targets, "endpoint"))

    @staticmethod
    def create(**values: Any) -> Campaign:
        return campaign_create(**values)

    @staticmethod
    def update(row: Campaign, **values: Any) -> Campaign:
        return campaign_update(campaign=row, **values)

    @staticmethod
    def delete(row: Campaign) -> None:
        campaign_delete(campaign=row)


class PathRow(Row):
    hops = serializers.JSONField(source="out_names", read_only=True, help_text="names of devices, on the way out")
    back = serializers.JSONField(source="back_names", read_only=True, help_text="names of devices, on the way back")

    class Meta:
        model = Path
        fields = (
            "id", "url", "display", "campaign", "target", "role", "state", "hops", "back", "rtt_us", "loss_percent",
            "changed", "heard",
        )  # fmt: skip
        brief = ("id", "url", "display", "state")
        display = ("key",)


class Paths(Resource):
    """Paths that are probed now; role `cover` is a loop beside the paths between end points."""

    row, plural = PathRow, "paths"
    search = ("out_names", "back_names")

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        paths: models.QuerySet[Any] = Path.objects.active()
        return paths


RESOURCES = (Campaigns, Paths)


class PathMinutes(APIView):
    """The history of one path: a row a minute, round trips in milliseconds in the order the probes were sent."""

    @extend_schema(
        parameters=[OpenApiParameter("hours", float, description=f"how far back, up to {MAX_HOURS}; 1 by default")],
        responses={200: {"type": "object", "properties": {"count": {"type": "integer"}, "results": {"type": "array"}}}},
    )
    def get(self, request: Request, path_id: int) -> Response:
        path = get_object_or_404(Path.objects.all(), pk=path_id)
        hours = _hours(request)
        rows = PathMinute.objects.filter(path=path, minute__gte=timezone.now() - timedelta(hours=hours))
        names = ("minute", "sent", "received", "late", "duplicate", "reordered", "rtts")
        results = [
            {**dict(zip(names, row, strict=True)), "rtts": _unpack(bytes(row[-1]))}
            for row in rows.order_by("minute").values_list(*names)
        ]
        return Response({"count": len(results), "next": None, "previous": None, "results": results})


def _hours(request: Request) -> float:
    text = request.query_params.get("hours", "1")
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= MAX_HOURS:
        raise exceptions.ValidationError({"hours": [f"{text!r} is not a number of hours up to {MAX_HOURS}."]})
    return hours


def _unpack(rtts: bytes) -> list[float]:
    values = struct.unpack(PathMinute.RTT_FORMAT.format(len(rtts) // 2), rtts)
    return [round(value, 3) for value in values]
