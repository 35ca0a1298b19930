"""REST: incidents with their timeline, tickets, desks."""

from typing import Any, ClassVar

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import ListView
from ticketing.desks import drivers
from ticketing.models import Desk, Incident, Ticket, TicketOperation
from ticketing.services import desk_create, ticket_retry

State = TicketOperation.State


class IncidentList(ListView):
    fields = {
        name: name
        for name in (
            "id",
            "kind",
            "element",
            "episode",
            "title",
            "state",
            "severity",
            "causes",
            "opened",
            "resolved",
        )
    }
    search = ("title", "element")
    filters = {"state": "state", "kind": "kind", "severity": "severity", "element": "element"}
    ordering = ("-opened", "opened", "id", "title", "state", "severity")

    def get_queryset(self) -> QuerySet[Any]:
        return Incident.objects.all()


class IncidentDetail(APIView):
    """One incident with its evidence, timeline and tickets."""

    def get(self, request: Request, pk: int) -> Response:
        rows = Incident.objects.filter(pk=pk).values(*IncidentList.fields, "evidence")
        if not rows:
            raise exceptions.NotFound("There is no such incident.")
        incident = dict(rows[0])
        events = Incident.objects.get(pk=pk).events.order_by("at", "id")
        incident["events"] = list(events.values("at", "actor", "text"))
        incident["tickets"] = list(
            Ticket.objects.filter(incident=pk).order_by("id").values("id", "desk", "state", "remote_id")
        )
        return Response(incident)


class TicketList(ListView):
    """`waiting` and `refused` count operations; `error` is what the desk said last about one of these."""

    fields = {
        "id": "id",
        "incident": "incident_id",
        "title": "incident__title",
        "desk": "desk_id",
        "desk_name": "desk__name",
        "state": "state",
        "remote_id": "remote_id",
        "created": "created",
        "waiting": "waiting",
        "refused": "refused",
        "error": "error",
    }
    search = ("incident__title", "remote_id", "desk__name")
    filters = {"incident": "incident", "desk": "desk", "state": "state"}
    ordering = ("-created", "created", "id", "state")

    def get_queryset(self) -> QuerySet[Any]:
        said = TicketOperation.objects.filter(ticket=OuterRef("pk")).exclude(error="").order_by("-id")
        return Ticket.objects.annotate(
            waiting=Count("operations", filter=Q(operations__state=State.PENDING)),
            refused=Count("operations", filter=Q(operations__state=State.DEAD)),
            error=Subquery(said.values("error")[:1]),
        )


class TicketRetry(APIView):
    """POST: put what the desk refused back into the queue."""

    capability: ClassVar[str] = "ticket.manage"

    def post(self, request: Request, pk: int) -> Response:
        ticket = Ticket.objects.filter(pk=pk).first()
        if ticket is None:
            raise exceptions.NotFound("There is no such ticket.")
        return Response({"queued": ticket_retry(ticket=ticket)})


class DeskList(ListView):
    """Desks without their secrets; POST {"name", "driver", "settings", "enabled"} makes one."""

    fields = {name: name for name in ("id", "name", "driver", "enabled", "settings")}
    search = ("name",)
    filters = {"driver": "driver"}
    ordering = ("name", "id")

    def get_queryset(self) -> QuerySet[Any]:
        return Desk.objects.all()

    def shape(self, row: dict[str, Any]) -> dict[str, Any]:
        """Only drivers know which settings are secret: those of a driver that is gone are not shown at all."""
        known = drivers().get(row["driver"])
        hidden = known.secrets if known else frozenset(row["settings"])
        settings = {name: value for name, value in row["settings"].items() if name not in hidden}
        return {**row, "settings": settings}

    def post(self, request: Request) -> Response:
        given = request.data
        if not isinstance(given, dict):
            raise exceptions.ValidationError("Send a JSON object.")
        wanted = {"name": str, "driver": str, "settings": dict, "enabled": bool}
        errors = {name: ["This is not a field of a desk."] for name in set(given) - set(wanted)}
        errors |= {name: ["This field is required."] for name in ("name", "driver", "settings") if name not in given}
        errors |= {
            name: [f"Give a JSON {'object' if kind is dict else 'boolean' if kind is bool else 'string'}."]
            for name, kind in wanted.items()
            if name in given and not isinstance(given[name], kind)
        }
        if errors:
            raise exceptions.ValidationError(errors)
        desk = desk_create(**given)
        row = {name: getattr(desk, name) for name in self.fields}
        return Response(self.shape(row), status=201)
