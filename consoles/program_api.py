"""REST by which programs get to a console: a ticket for a socket, a run, and a listener for a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from consoles import running, services
from consoles.addresses import outer_url
from consoles.listeners import MODES
from consoles.models import ConsolePort
from consoles.plain import Lines, rows
from tenancy.middleware import seat_of

MAX_SEND = 16 << 10
MAX_S = 55
"""Seconds: less than proxies wait for an answer."""


class TicketShown(serializers.Serializer[Any]):
    ticket = serializers.CharField(help_text="the first message of the socket; once, within 30 s")
    url = serializers.CharField(help_text="of the WebSocket")


class RunAsked(serializers.Serializer[Any]):
    send = serializers.CharField(required=False, trim_whitespace=False, max_length=MAX_SEND, help_text="is typed")
    expect = serializers.CharField(
        required=False, trim_whitespace=False, max_length=1000, help_text="a pattern of RE2 that ends the run"
    )
    timeout = serializers.FloatField(default=10, min_value=0.1, max_value=MAX_S, help_text="seconds")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.keys() & {"send", "expect"}:
            raise serializers.ValidationError({"send": ["Give what to send, or a pattern to expect."]})
        return attrs


class RunShown(serializers.Serializer[Any]):
    output = serializers.CharField(help_text="what the port said from then on, as UTF-8; U+FFFD for what is none")
    text = serializers.CharField(help_text="the same as a terminal would show it, without control characters")
    matched = serializers.CharField(allow_null=True, help_text="what the pattern found; null where it did not in time")
    cut = serializers.BooleanField(help_text=f"whether there was more than {running.OUTPUT >> 10} KiB")


class SocketAsked(serializers.Serializer[Any]):
    mode = serializers.ChoiceField(choices=MODES)


class SocketShown(serializers.Serializer[Any]):
    host = serializers.CharField(help_text="loopback of the machine of the gateway")
    port = serializers.IntegerField()
    token = serializers.CharField(help_text="the first line to send; for one connection within 60 s")


class PortAction(APIView):
    """POST: what it does at one port."""

    capability: ClassVar[str] = "console.read"

    def ticket(self, request: Request, pk: int) -> tuple[str, str]:
        """(path of the socket at the gateway, a ticket for it)."""
        port = ConsolePort.objects.filter(pk=pk).first()
        if port is None:
            raise exceptions.NotFound(f"There is no console port {pk}.")
        seat = seat_of(request)
        return f"/console/{seat.slug}/{pk}/program", services.program_ticket_issue(port=port, seat=seat)


class Ticket(PortAction):
    """POST gives a ticket, by which a program opens the WebSocket `url` (docs/consoles.md)."""

    @extend_schema(request=None, responses=TicketShown)
    def post(self, request: Request, pk: int) -> Response:
        path, ticket = self.ticket(request, pk)
        return Response({"ticket": ticket, "url": f"{outer_url(request)}{path}"})


class Run(PortAction):
    """POST types something and answers what the port says until a pattern matches, or for `timeout` seconds. 409 says
    why the port does not take it: somebody has it to themselves, it is not open, its agent is away."""

    capability = "console.write"

    @extend_schema(request=RunAsked, responses={200: RunShown, 503: {"type": "object"}})
    def post(self, request: Request, pk: int) -> Response:
        path, ticket = self.ticket(request, pk)
        asked = RunAsked(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted: dict[str, Any] = asked.validated_data
        expect = running.pattern(wanted["expect"]) if "expect" in wanted else None
        send = wanted.get("send", "").encode()

        def run() -> dict[str, Any]:
            done = running.run(path, ticket, send=send, expect=expect, timeout=wanted["timeout"])
            matched = None if done.matched is None else done.matched.decode(errors="replace")
            output = done.output.decode(errors="replace")
            return {"output": output, "text": _text(done.output), "matched": matched, "cut": done.cut}

        return _afterwards(run)


class Socket(PortAction):
    """POST opens a port of the gateway's loopback for one script that speaks plain TCP (`raw`) or telnet with RFC 2217;
    its first line is the token."""

    @extend_schema(request=SocketAsked, responses={200: SocketShown, 503: {"type": "object"}})
    def post(self, request: Request, pk: int) -> Response:
        path, ticket = self.ticket(request, pk)
        asked = SocketAsked(data=request.data)
        asked.is_valid(raise_exception=True)
        mode: str = asked.validated_data["mode"]
        return _afterwards(lambda: running.listener(path, ticket, mode))


def _text(output: bytes) -> str:
    lines = Lines()
    cut = [*lines.feed(0, output), *lines.close()]
    return "\n".join(row for _, line in cut for row in rows(line))


def _afterwards(work: Callable[[], dict[str, Any]]) -> Response:
    """An answer that is made once the ticket is committed."""

    def answer() -> HttpResponse:
        try:
            return JsonResponse(work())
        except running.NotDone as refusal:
            return JsonResponse({"detail": str(refusal)}, status=status.HTTP_409_CONFLICT)
        except running.Away as trouble:
            return JsonResponse({"detail": str(trouble)}, status=status.HTTP_503_SERVICE_UNAVAILABLE)

    response = Response()
    response.afterwards = answer  # type: ignore[attr-defined]
    return response
