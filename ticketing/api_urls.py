"""Mounted at /api/ticketing/."""

from django.urls import path

from ticketing import api

urlpatterns = [
    *(route for resource in api.RESOURCES for route in resource.urls()),
    path("tickets/<int:pk>/retry/", api.TicketRetry.as_view(), name="api-ticketing-ticket-retry"),
]
