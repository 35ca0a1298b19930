"""REST of campaigns, their paths and history."""

import struct
from datetime import timedelta
from typing import Any

from django.db import models
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.models import Agent
from core.api import ListView
from inventory.models import Endpoint
from probing.models import Campaign, Path, PathMinute
from probing.services import campaign_create, campaign_update

MAX_HOURS = 48


class CampaignFields(serializers.Serializer[Campaign]):
    """What POST and PATCH take; the service checks the values."""

    name = serializers.CharField(max_length=60)
    agent = serializers.CharField(help_text="name of the agent")
    targets = serializers.ListField(child=serializers.CharField(), help_text="names of end points", max_length=1000)
    policy = serializers.ChoiceField(Campaign.Policy.choices, required=False)
    policy_value = serializers.IntegerField(min_value=0, max_value=1000, required=False)
    style = serializers.ChoiceField(Campaign.Style.choices, required=False)  # type: ignore[assignment]
    rate = serializers.FloatField(required=False)
    loss_percent = serializers.FloatField(required=False)
    latency_ms = serializers.FloatField(required=False)
    enabled = serializers.BooleanField(required=False)


class CampaignList(ListView):
    fields = {
        "id": "id",
        "name": "name",
        "agent": "agent__name",
        "policy": "policy",
        "policy_value": "policy_value",
        "style": "style",
        "rate": "rate",
        "loss_percent": "loss_percent",
        "latency_ms": "latency_ms",
        "enabled": "enabled",
        "planned": "planned",
        "planned_version": "planned_version",
        "notes": "notes",
    }
    search = ("name",)
    filters = {"name": "name", "agent": "agent__name", "enabled": "enabled"}
    ordering = ("name", "id", "planned")

    def get_queryset(self) -> models.QuerySet[Any]:
        campaigns: models.QuerySet[Any] = Campaign.objects.all()
        return campaigns

    def post(self, request: Request) -> Response:
        campaign = campaign_create(**_values(request))
        return Response({"id": campaign.pk, "name": campaign.name}, status=status.HTTP_201_CREATED)


class CampaignDetail(APIView):
    def patch(self, request: Request, campaign_id: int) -> Response:
        """Change what is given; its paths are planned anew."""
        campaign = get_object_or_404(Campaign.objects.all(), pk=campaign_id)
        campaign_update(campaign=campaign, **_values(request, partial=True))
        return Response({"id": campaign.pk})


def _values(request: Request, *, partial: bool = False) -> dict[str, Any]:
    """What was asked, with rows in the place of names."""
    asked = CampaignFields(data=request.data, partial=partial)
    asked.is_valid(raise_exception=True)
    values = dict(asked.validated_data)
    if "agent" in values:
        name = values["agent"]
        values["agent"] = Agent.objects.filter(name=name).first()
        if values["agent"] is None:
            raise exceptions.ValidationError({"agent": [f"There is no agent {name!r}."]})
    if "targets" in values:
        names = set(values["targets"])
        values["targets"] = list(Endpoint.objects.filter(name__in=names))
        if unknown := sorted(names - {target.name for target in values["targets"]}):
            raise exceptions.ValidationError({"targets": [f"There is no end point {name!r}." for name in unknown]})
    return values


class PathList(ListView):
    fields = {
        "id": "id",
        "campaign": "campaign_id",
        "target": "target__name",
        "role": "role",
        "state": "state",
        "hops": "out_names",
        "back": "back_names",
        "rtt_us": "rtt_us",
        "loss_percent": "loss_percent",
        "changed": "changed",
        "heard": "heard",
    }
    filters = {"campaign": "campaign_id", "state": "state", "role": "role", "target": "target__name"}
    ordering = ("id", "state", "rtt_us", "loss_percent", "changed")

    def get_queryset(self) -> models.QuerySet[Any]:
        paths: models.QuerySet[Any] = Path.objects.active()
        return paths


class PathMinutes(APIView):
    """The history of one path: a row a minute, round trips in milliseconds in the order the probes were sent."""

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
