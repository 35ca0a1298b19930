"""Pages of agents: the list with those that wait, one agent, and how to enrol another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import clones, enrolment, legacy, services, tls
from agents.forms import PiconForm, TokenForm
from agents.hooks import consoles_of
from agents.models import Agent, EnrolmentToken, LegacyToken
from core.listing import Column, Listing, as_rows
from core.views import page
from pi_agent import __version__
from pi_agent.enrolment import fingerprint
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of
from tenancy.models import User
from ticketing.models import Incident

COLUMNS = (
    Column("Agent", "name", "name"),
    Column("Status", "status", "status"),
    Column("Serial number", "serial", "serial"),
    Column("Addresses"),
    Column("Ports"),
    Column("First seen", "first_seen", "first_seen"),
    Column("Last seen", "last_seen", "last_seen"),
    Column("Expires in", "expires", "expires"),
)
SHOWN = ("online", "late", "dead", "new", "revoked")
_FIELDS = (
    "id", "name", "hostname", "serial", "state", "status", "interfaces", "ports", "first_seen", "last_seen", "expires",
    "maintenance", "software",
)  # fmt: skip


@require_safe
@needs("view")
def agents(request: HttpRequest, slug: str) -> HttpResponse:
    listing = Listing(request, COLUMNS, ("name", "hostname", "serial"), {"status": SHOWN})
    rows = Agent.objects.with_status().exclude(state=Agent.State.WAITING)
    chosen = listing.chosen.get("status")
    rows = rows.filter(status=chosen) if chosen else rows.exclude(state=Agent.State.REVOKED)
    listing.fill(rows, *_FIELDS)
    for row in listing.rows:
        row["ports"] = _labelled(row["ports"])
        row["behind"] = bool(row["software"]) and row["software"] != __version__
    waiting = as_rows(
        Agent.objects.filter(state=Agent.State.WAITING)
        .order_by("first_seen", "pk")
        .values("id", "name", "hostname", "serial", "model", "first_seen", "public_key", "token__name")
    )
    for row in waiting:
        row["fingerprint"] = fingerprint(bytes.fromhex(row["public_key"]))
    context = {"section": "agents", "listing": listing, "waiting": waiting, "now": timezone.now()}
    return page(request, "agents/agents.html", context, "agents/_agents.html")


@require_safe
@needs("view")
def agent(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Agent.objects.with_status(), pk=pk)
    incidents = list(
        Incident.objects.open()
        .filter(kind="agent", element__in=[f"agent:{pk}", clones.clash_element(pk)])
        .values("id", "title", "severity", "opened", "element")
    )
    consoles = {name: console for of in consoles_of for name, console in of(shown).items()}
    context = {
        "section": "agents",
        "agent": shown,
        "now": timezone.now(),
        "interfaces": [{**each, "addresses": _marked(each.get("addresses", []))} for each in shown.interfaces],
        "ports": [{**each, "console": consoles.get(each["name"])} for each in _labelled(shown.ports)],
        "behind": bool(shown.software) and shown.software != __version__,
        "version": __version__,
        "ssh": {
            "host": urlsplit(shown.gateway).hostname or settings.SSH_HOST,
            "port": settings.SSH_PORT,
            "fingerprint": tls.host_fingerprint(),
        },
        "incidents": incidents,
        "clash": clones.clash_element(pk) in [each["element"] for each in incidents],
    }
    return page(request, "agents/agent.html", context, "agents/_agent.html")


def _labelled(ports: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Each port with a `label` for people, and what `more` tells it apart: its device and its stable name."""
    found = []
    for port in ports:
        device = port["device"].removeprefix("/dev/")
        label = port.get("description") or device
        names = dict.fromkeys((device, port["name"].removeprefix("/dev/").rpartition("/")[2]))
        found.append({**port, "label": label, "more": [name for name in names if name != label]})
    return found


def _marked(addresses: list[str]) -> list[tuple[str, str]]:
    """Each address with what is special about it."""
    found = [(each, ip_address(each)) for each in addresses]
    return [(text, "loopback" if ip.is_loopback else "link-local" if ip.is_link_local else "") for text, ip in found]


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
@never_cache
def enrol(request: HttpRequest, slug: str) -> HttpResponse:
    """Which tokens there are; POST makes one and shows it on the answer, the only time."""
    form, join = TokenForm(request.POST or None), ""
    if form.is_valid():
        values = dict(form.cleaned_data)
        expires = timezone.now() + timedelta(hours=values.pop("hours"))
        try:
            _, secret = enrolment.enrolment_token_create(expires=expires, created_by=cast(User, request.user), **values)
        except ValidationError as error:
            refused(form, error)
        else:
            join, form = enrolment.join_token(secret), TokenForm()
    tokens = EnrolmentToken.objects.order_by("-pk")
    context = {
        "section": "agents",
        "form": form,
        "join": join,
        "version": __version__,
        "server": settings.GATEWAY_URL.removesuffix("/link").replace("wss://", "https://", 1),
        "now": timezone.now(),
        "tokens": as_rows(
            tokens.values("id", "name", "uses_left", "needs_approval", "created", "expires", "created_by__username")
        ),
    }
    return render(request, "agents/enrol.html", context)


@require_POST
@needs("team.admin")
def token_revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    token = get_object_or_404(EnrolmentToken, pk=pk)
    enrolment.enrolment_token_revoke(token=token)
    messages.success(request, "The token is revoked; agents that enrolled with it stay.")
    return redirect("agents-enrol", slug)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
@never_cache
def picon(request: HttpRequest, slug: str) -> HttpResponse:
    """Tokens of PiCon agents; POST makes one and shows its address on the answer, the only time."""
    form, endpoint = PiconForm(request.POST or None), ""
    if form.is_valid():
        try:
            _, secret = legacy.legacy_token_create(created_by=cast(User, request.user), **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            endpoint, form = legacy.endpoint(secret), PiconForm()
    tokens = LegacyToken.objects.order_by("-pk").values(
        "id", "name", "networks", "created", "last_used", "created_by__username"
    )
    context = {"section": "agents", "form": form, "endpoint": endpoint, "tokens": as_rows(tokens)}
    return render(request, "agents/picon.html", context)


@require_POST
@needs("team.admin")
def picon_revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    legacy.legacy_token_revoke(token=get_object_or_404(LegacyToken, pk=pk))
    messages.success(request, "The token is revoked; nobody registers with it any more.")
    return redirect("picon-tokens", slug)


@require_POST
@needs("team.admin")
def approve(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _do(request, pk, enrolment.agent_approve, "{} is let in.")


@require_POST
@needs("team.admin")
def revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _do(request, pk, enrolment.agent_revoke, "{} is revoked, its link is cut.")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
def remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """GET says what it means and asks; POST does it."""
    agent = get_object_or_404(Agent, pk=pk)
    if request.method == "POST":
        try:
            enrolment.agent_delete(agent=agent)
        except ValidationError:  # the page says what is in the way
            pass
        else:
            messages.success(request, f"{agent.name} is removed.")
            return redirect("agents", slug)
    context = {"section": "agents", "agent": agent, "needed": enrolment.agent_needs(agent=agent)}
    return render(request, "agents/remove.html", context)


@require_POST
@needs("team.admin")
def keep(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _do(request, pk, clones.agent_keep, "{} takes another key; the other machine is not let in any more.")


@require_POST
@needs("change")
def maintenance(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """`on`: no incident is opened while it is set."""
    on = request.POST.get("on") == "1"
    done = "{} is under maintenance: no incident is opened." if on else "{} is watched again."
    return _do(request, pk, lambda *, agent: services.agent_update(agent=agent, maintenance=on), done)


def _do(request: HttpRequest, pk: int, service: Callable[..., Any], done: str) -> HttpResponse:
    """Call the service and go back to the agent with a line that says what came of it."""
    agent = get_object_or_404(Agent, pk=pk)
    try:
        service(agent=agent)
        messages.success(request, done.format(agent.name))
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("agent", seat_of(request).slug, pk)
