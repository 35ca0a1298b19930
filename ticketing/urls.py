"""Pages of incidents, under /t/<team>/."""

from django.urls import path

from ticketing import views

urlpatterns = [
    path("incidents/", views.incidents, name="incidents"),
    path("incidents/<int:pk>/", views.incident, name="incident"),
]
