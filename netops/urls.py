"""Every route."""

from django.urls import URLPattern, URLResolver, include, path

from netops.views import overview

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("tenancy.urls")),
    path(
        "t/<slug:slug>/",
        include(
            [
                path("", overview, name="overview"),
                path("", include("inventory.urls")),
                path("", include("probing.urls")),
                path("", include("ticketing.urls")),
            ]
        ),
    ),
]
