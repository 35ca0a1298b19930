from django.urls import path

from inventory import api

urlpatterns = [
    path("devices/", api.Devices.as_view()),
    path("links/", api.Links.as_view()),
    path("half-links/", api.HalfLinks.as_view()),
    path("interfaces/", api.Interfaces.as_view()),
    path("prefixes/", api.Prefixes.as_view()),
    path("endpoints/", api.Endpoints.as_view()),
    path("events/", api.Events.as_view()),
    path("sources/", api.Sources.as_view()),
    path("paths/", api.Paths.as_view()),
]
