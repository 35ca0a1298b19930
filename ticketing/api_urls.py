"""Mounted at /api/ticketing/."""

from django.urls import path

from ticketing import api

urlpatterns = [
    path("incidents/", api.IncidentList.as_view()),
    path("incidents/<int:pk>/", api.IncidentDetail.as_view()),
    path("tickets/", api.TicketList.as_view()),
    path("tickets/<int:pk>/retry/", api.TicketRetry.as_view()),
    path("desks/", api.DeskList.as_view()),
]
