"""Every route."""

from django.urls import URLPattern, URLResolver, include, path

from agents import doors
from core.api.docs import docs, schema
from netops.admin import site
from netops.health import health
from netops.metrics import metrics
from netops.views import overview

handler404 = "netops.views.not_found"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("tenancy.urls")),
    path("admin/", site.urls),
    path("health/", health, name="health"),
    path("metrics", metrics, name="metrics"),
    path("api/prometheus/", include("inventory.prometheus_urls")),
    path("api/schema/", schema, name="api-schema"),
    path("api/docs/", docs, name="api-docs"),
    path("api/tenancy/", include("tenancy.rest_urls")),
    path("api/agents/", include("agents.api_urls")),
    path("picon/<str:secret>/api/register", doors.picon, name="picon"),
    path("picon/<str:secret>/api/register/", doors.picon),
    path("api/inventory/", include("inventory.api_urls")),
    path("netbox/api/", include("inventory.netbox.urls")),
    path("api/consoles/", include("consoles.api_urls")),
    path("api/probing/", include("probing.api_urls")),
    path("api/ticketing/", include("ticketing.api_urls")),
    path(
        "t/<slug:slug>/",
        include(
            [
                path("", overview, name="overview"),
                path("", include("inventory.urls")),
                path("", include("agents.urls")),
                path("", include("consoles.urls")),
                path("", include("probing.urls")),
                path("", include("ticketing.urls")),
                path("team/", include("tenancy.team_urls")),
                path("audit/", include("tenancy.audit_urls")),
            ]
        ),
    ),
]
