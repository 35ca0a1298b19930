"""Pages of campaigns and their paths."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_safe

from core.listing import Column, Listing
from core.views import page
from probing import selectors
from probing.models import Campaign, Path

COLUMNS = (
    Column("Path", "path", "id"),
    Column("State", "state", "state"),
    Column("Round trip", "rtt", "rtt_us", "num"),
    Column("Last 10 minutes"),
    Column("Loss", "loss", "loss_percent", "num"),
    Column("Changed", "changed", "changed"),
)


@require_safe
def campaigns(request: HttpRequest, slug: str) -> HttpResponse:
    """Every campaign; straight to the only one where there is one."""
    rows = selectors.campaign_rows()
    if len(rows) == 1:
        return redirect("campaign", slug, rows[0]["id"])
    return page(request, "probing/campaigns.html", {"section": "paths", "campaigns": rows}, "probing/_campaigns.html")


@require_safe
def campaign(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Campaign.objects.select_related("agent"), pk=pk)
    roles = Path.Role.values
    filters = {"state": selectors.STATES, "role": roles[1:]}
    listing = Listing(request, COLUMNS, ("out_names", "back_names"), filters)
    role = listing.chosen.get("role", roles[0])
    rows = selectors.path_rows(pk, role)
    if chosen := listing.chosen.get("state"):
        rows = rows.filter(state=chosen)
    listing.fill(rows, *selectors.PATH_FIELDS)
    selectors.with_history(listing.rows)
    context = {
        "section": "paths",
        "campaign": shown,
        "targets": list(shown.targets.order_by("endpoint__sort_key").values_list("endpoint__name", flat=True)),
        "listing": listing,
        "role": role,
        "counts": selectors.state_counts(campaign_id=pk),
        "cover": selectors.state_counts(Path.Role.COVER, campaign_id=pk),
        "only": Campaign.objects.count() == 1,
    }
    return page(request, "probing/campaign.html", context, "probing/_campaign.html")


@require_safe
def path(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    shown = get_object_or_404(Path.objects.select_related("campaign", "campaign__agent", "target"), pk=pk)
    context: dict[str, Any] = {"section": "paths", "path": shown, **selectors.path_story(shown)}
    return page(request, "probing/path.html", context, "probing/_path.html")
