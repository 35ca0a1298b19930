"""The overview, the one page that needs every room."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.http import require_safe

from agents.models import Agent
from core.views import page
from inventory import selectors as network
from probing import selectors as probes
from ticketing import selectors as incidents


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people, JSON for programs; it says the same of what is another team's and of what is not there."""
    if request.path_info.startswith(("/api/", "/netbox/")):
        return JsonResponse({"detail": "There is nothing at this address."}, status=404)
    return defaults.page_not_found(request, exception)


@require_safe
def overview(request: HttpRequest, slug: str) -> HttpResponse:
    context = {
        "section": "overview",
        "network": network.network_summary(),
        "sources": network.sources(),
        "events": network.events(8),
        "paths": probes.state_counts(),
        "campaigns": probes.campaign_rows(),
        "incidents": incidents.open_incidents(),
        "incident_counts": incidents.incident_counts(),
        "agents": list(Agent.objects.with_status().order_by("name").values("id", "name", "status", "last_seen")),
    }
    return page(request, "netops/overview.html", context, "netops/_overview.html")
