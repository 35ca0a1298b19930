"""REST: incidents with their timeline, tickets and what was told of them, desks."""

from typing import Any, ClassVar

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.resource import Resource
from core.api.rows import Row
from ticketing.models import Desk, Incident, IncidentEvent, Ticket, TicketOperation
from ticketing.services import desk_create, desk_delete, desk_update, ticket_retry

State = TicketOperation.State


class IncidentRow(Row):
    class Meta:
        model = Incident
        fields = (
            "id", "url", "display", "kind", "element", "episode", "title", "state", "severity", "causes", "evidence",
            "opened", "resolved",
        )  # fmt: skip
        brief = ("id", "url", "display", "state")
        display = ("title",)


class Incidents(Resource):
    """Incidents, the newest first. `causes` is what each source holds against the element now."""

    row, plural = IncidentRow, "incidents"
    search, ordering = ("title", "element"), ("-opened",)


class IncidentEventRow(Row):
    class Meta:
        model = IncidentEvent
        fields = ("id", "url", "display", "incident", "at", "actor", "text")
        brief = ("id", "url", "display", "at")
        display = ("text",)


class IncidentEvents(Resource):
    """The timelines of incidents: who or what did what, and why."""

    row, plural = IncidentEventRow, "incident-events"
    search, ordering = ("text", "actor"), ("-id",)


class DeskRow(Row):
    settings = serializers.JSONField(help_text="as the driver wants them; secret ones can be written, never read")

    class Meta:
        model = Desk
        fields = ("id", "url", "display", "name", "driver", "settings", "enabled")
        brief = ("id", "url", "display", "name")

    def validate_settings(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise serializers.ValidationError("Give a JSON object.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance and attrs.get("driver", self.instance.driver) != self.instance.driver:
            raise serializers.ValidationError({"driver": ["A desk keeps its driver: make another desk."]})
        return attrs


class Desks(Resource):
    """Desks: where tickets go. Secrets that new settings leave out are kept."""

    row, plural = DeskRow, "desks"
    search, ordering = ("name",), ("name",)

    @staticmethod
    def create(**values: Any) -> Desk:
        return desk_create(**values)

    @staticmethod
    def update(row: Desk, **values: Any) -> Desk:
        values.pop("driver", None)
        return desk_update(desk=row, **values)

    @staticmethod
    def delete(row: Desk) -> None:
        desk_delete(desk=row)


class TicketRow(Row):
    waiting = serializers.IntegerField(read_only=True, help_text="operations that the desk has not been told yet")
    refused = serializers.IntegerField(read_only=True, help_text="operations that the desk refuses")
    error = serializers.CharField(read_only=True, allow_null=True, help_text="what the desk said last about one")

    class Meta:
        model = Ticket
        fields = (
            "id", "url", "display", "incident", "desk", "state", "remote_id", "created", "waiting", "refused", "error",
        )  # fmt: skip
        brief = ("id", "url", "display", "state")
        display = ("remote_id",)


class Tickets(Resource):
    """Tickets, the newest first."""

    row, plural = TicketRow, "tickets"
    search, ordering = ("incident__title", "remote_id", "desk__name"), ("-created",)

    @classmethod
    def rows(cls) -> QuerySet[Any]:
        said = TicketOperation.objects.filter(ticket=OuterRef("pk")).exclude(error="").order_by("-id")
        return Ticket.objects.annotate(
            waiting=Count("operations", filter=Q(operations__state=State.PENDING)),
            refused=Count("operations", filter=Q(operations__state=State.DEAD)),
            error=Subquery(said.values("error")[:1]),
        )


class TicketOperationRow(Row):
    class Meta:
        model = TicketOperation
        fields = (
            "id",
            "url",
            "display",
            "ticket",
            "verb",
            "state",
            "attempts",
            "not_before",
            "error",
            "created",
            "done",
        )
        brief = ("id", "url", "display", "state")
        display = ("verb",)


class TicketOperations(Resource):
    """What desks were told, or still have to be told."""

    row, plural = TicketOperationRow, "ticket-operations"
    ordering = ("-id",)


RESOURCES = (Incidents, IncidentEvents, Tickets, TicketOperations, Desks)


class TicketRetry(APIView):
    """POST: put what the desk refused back into the queue."""

    capability: ClassVar[str] = "ticket.manage"

    @extend_schema(request=None, responses={200: {"type": "object", "properties": {"queued": {"type": "integer"}}}})
    def post(self, request: Request, pk: int) -> Response:
        ticket = Ticket.objects.filter(pk=pk).first()
        if ticket is None:
            raise exceptions.NotFound(f"There is no ticket {pk}.")
        return Response({"queued": ticket_retry(ticket=ticket)})
