"""Mounted at /api/probing/."""

from django.urls import path

from probing import api

urlpatterns = [
    *(route for resource in api.RESOURCES for route in resource.urls()),
    path("paths/<int:path_id>/minutes/", api.PathMinutes.as_view(), name="api-probing-path-minutes"),
]
