"""Pages of consoles, under /t/<team>/."""

from django.urls import path

from consoles import views

urlpatterns = [
    path("consoles/", views.consoles, name="consoles"),
    path("consoles/<int:pk>/", views.console, name="console"),
    path("consoles/<int:pk>/ticket/", views.ticket, name="console-ticket"),
    path("consoles/<int:pk>/setup/", views.setup, name="console-setup"),
]
