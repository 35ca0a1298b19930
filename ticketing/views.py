"""Pages of incidents."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from core.listing import Column, Listing
from core.views import page
from ticketing import selectors
from ticketing.models import Incident
from ticketing.panels import panels

COLUMNS = (
    Column("Opened", "opened", "opened"),
    Column("State", "state", "state"),
    Column("Incident", "title", "title"),
    Column("Severity", "severity", "severity"),
    Column("Lasted"),
    Column("Tickets", "tickets", "ticketed", "num"),
)


@require_safe
def incidents(request: HttpRequest, slug: str) -> HttpResponse:
    listing = Listing(request, COLUMNS, ("title", "element"), {"state": Incident.State.values}, "-opened")
    rows = selectors.incident_rows()
    if chosen := listing.chosen.get("state"):
        rows = rows.filter(state=chosen)
    listing.fill(rows, *selectors.INCIDENT_FIELDS)
    context = {"section": "incidents", "listing": listing, "counts": selectors.incident_counts()}
    return page(request, "ticketing/incidents.html", context, "ticketing/_incidents.html")


@require_safe
def incident(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Incident.objects.all(), pk=pk)
    context = {
        "section": "incidents",
        "incident": shown,
        "timeline": selectors.timeline_of(shown),
        "evidence": selectors.evidence_of(shown),
        "tickets": selectors.tickets_of(shown),
        "panels": [panel(shown) for panel in panels.get(shown.kind, ())],
    }
    return page(request, "ticketing/incident.html", context, "ticketing/_incident.html")
