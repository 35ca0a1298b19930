"""Pages of consoles: the list, one terminal, and how a port is set up."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from consoles import check_services, services
from consoles.addresses import outer_url
from consoles.far import far_of
from consoles.forms import PortForm
from consoles.models import ConsolePort
from consoles.power import outlet_of
from consoles.selectors import visits_of
from core.listing import Column, Listing
from core.views import page
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of
from tenancy.models import User
from tenancy.roles import can

COLUMNS = (
    Column("Console", "name", "name"),
    Column("State"),
    Column("Test"),
    Column("Device", "device", "device__name"),
    Column("Agent", "agent", "agent__name"),
    Column("Settings"),
)
_FIELDS = (
    "id", "name", "title", "device_id", "device__name", "agent_id", "agent__name", "agent__online", "baud", "parity",
    "flow", "tried", "trouble", "test_result", "test_at",
)  # fmt: skip


@require_safe
@needs("console.read")
def consoles(request: HttpRequest, slug: str) -> HttpResponse:
    listing = Listing(request, COLUMNS, ("name", "title", "device__name", "agent__name"))
    listing.fill(ConsolePort.objects.all(), *_FIELDS)
    context = {"section": "consoles", "listing": listing}
    return page(request, "consoles/consoles.html", context, "consoles/_consoles.html")


@require_safe
@needs("console.read")
@never_cache
def console(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    port = get_object_or_404(ConsolePort.objects.select_related("agent", "device"), pk=pk)
    context = {"section": "consoles", "port": port, "visits": visits_of(port_id=pk), "outlet": outlet_of(port_id=pk)}
    return render(request, "consoles/console.html", context)


@require_POST
@needs("console.read")
@never_cache
def ticket(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What a page sends as the first message of its socket, and where that is."""
    port, seat = get_object_or_404(ConsolePort, pk=pk), seat_of(request)
    writes = can(seat.role, "console.write")
    secret = services.ticket_issue(port=port, user=cast(User, request.user), writes=writes)
    return JsonResponse({"ticket": secret, "url": f"{outer_url(request)}/console/{seat.slug}/{port.pk}"})


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def setup(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    port = get_object_or_404(ConsolePort.objects.select_related("agent"), pk=pk)
    shown = str(port)
    form = PortForm(request.POST or None, port, request.GET.get("baud", ""))
    if form.is_valid():
        try:
            services.port_update(port=port, **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, f"{port} is set up.")
            return redirect("console", seat_of(request).slug, pk)
    return render(
        request,
        "consoles/setup.html",
        {"section": "consoles", "form": form, "port": port, "shown": shown, "far": far_of(port_id=pk)},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@needs("console.read")
def check(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How the last test went; POST has the next one come at once."""
    if request.method == "POST" and not can(seat_of(request).role, "console.write"):
        raise PermissionDenied
    return _asked(request, pk, "test")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def detect(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What speed was found; POST has it looked for."""
    return _asked(request, pk, "detect")


def _asked(request: HttpRequest, pk: int, what: str) -> HttpResponse:
    port = get_object_or_404(ConsolePort, pk=pk)
    if request.method == "POST":
        check_services.check_ask(port=port, what=what)
    return render(request, f"consoles/_{what}.html", {"port": port})
