"""Where agents without a link knock: signed requests, no session and no token. Also served by the gateway."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from agents.capped import TOO_LONG
from agents.enrolment import agent_enrol, agent_key_rotate
from agents.legacy import legacy_register
from agents.models import Agent
from agents.reports import Replayed, Report, UnknownAgent, report_accept
from agents.services import agent_register, tunnel_port
from agents.tls import host_fingerprint, host_key
from core.api.errors import as_detail
from core.client import client_address
from core.rate import seconds_to_wait
from pi_agent.fields import Fields, FrameError
from pi_agent.frames import TunnelTerms
from pi_agent.registration import MAX_BODY, Registration

NOT_ENROLLED = "This key is not enrolled, or did not sign this."
View = Callable[..., HttpResponse]


def door(view: View) -> View:
    """POST of at most MAX_BODY bytes, read no further; what is wrong becomes a 4xx that names the field."""

    @csrf_exempt
    @require_POST
    @wraps(view)
    def answered(request: HttpRequest, **parts: str) -> HttpResponse:
        if wait_s := seconds_to_wait(f"agents.{client_address(request)}", settings.AGENT_RATE):
            headers = {"Retry-After": str(math.ceil(wait_s))}
            return JsonResponse({"detail": "Too many requests from this address."}, status=429, headers=headers)
        body = request.read(MAX_BODY + 1) if _length(request) <= MAX_BODY else b""
        if len(body) > MAX_BODY or _length(request) > MAX_BODY:
            return refused(413, TOO_LONG)
        try:
            return view(request, body, **parts)
        except FrameError as error:
            return refused(400, str(error))
        except ValidationError as error:
            return JsonResponse(as_detail(error), status=400)
        except UnknownAgent:
            return refused(401, NOT_ENROLLED)
        except Replayed:
            return refused(409, "This report came before.")

    return answered


def refused(status: int, detail: str) -> JsonResponse:
    return JsonResponse({"detail": detail}, status=status)


def _length(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isdecimal() else 0


def _agreed(agent: Agent, **more: Any) -> JsonResponse:
    return JsonResponse({"status": "ok", "holdtime": agent.holdtime_s, "interval": agent.interval_s, **more})


def _report(request: HttpRequest, body: bytes) -> Any:
    return report_accept(Report.parse(request.path_info, request.headers), body)


@door
def enrol(request: HttpRequest, body: bytes) -> HttpResponse:
    fields = Fields.parse(body, "enrolment")
    registration = Fields(fields.mapping("registration", 100), "registration")
    agent = agent_enrol(
        secret=fields.text("token", 64),
        key=fields.octets("key", 32, 32),
        signature=fields.octets("signature", 64, 64),
        registration=Registration.read(registration),
    )
    answer = {"agent": agent.name, "state": agent.state, "link": " ".join(settings.GATEWAY_URLS)}
    return JsonResponse(answer, status=201)


@door
def register(request: HttpRequest, body: bytes) -> HttpResponse:
    """What the machine is; the answer names the port that its SSH tunnel may end at, as over the link."""
    with _report(request, body) as agent:
        agent_register(agent=agent, registration=Registration.parse(body))
        port = agent.tunnel_port or tunnel_port(agent_id=agent.pk)
    terms = TunnelTerms(settings.SSH_HOST, settings.SSH_PORT, port, host_key()).to_json()["tunnel"]
    return _agreed(agent, tunnel={**terms, "fingerprint": host_fingerprint()})


@door
def heartbeat(request: HttpRequest, body: bytes) -> HttpResponse:
    """Alive; what the body says does not matter."""
    with _report(request, body) as agent:
        return _agreed(agent)


@door
def rotate(request: HttpRequest, body: bytes) -> HttpResponse:
    """Another key, asked for under the old one (pi_agent.enrolment.ROTATE_PATH)."""
    with _report(request, body) as agent:
        fields = Fields.parse(body, "rotation")
        agent_key_rotate(agent=agent, key=fields.octets("key", 32, 32), signature=fields.octets("signature", 64, 64))
    return _agreed(agent)


@door
def picon(request: HttpRequest, body: bytes, secret: str) -> HttpResponse:
    """A registration of a PiCon agent; each answer has a tunnel, the first one too."""
    try:
        port = legacy_register(secret=secret, address=client_address(request), body=body)
    except UnknownAgent:
        return refused(404, "There is nothing at this address.")
    return JsonResponse({"status": "ok", "tunnel": {"port": port, "server": settings.SSH_HOST}})
