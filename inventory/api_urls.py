"""Mounted at /api/inventory/."""

from django.urls import path

from inventory import api

urlpatterns = [
    *(route for resource in api.RESOURCES for route in resource.urls()),
    path("paths/", api.Paths.as_view(), name="api-inventory-paths"),
]
