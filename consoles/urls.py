"""Pages of consoles, under /t/<team>/."""

from django.urls import path

from consoles import log_views, views

urlpatterns = [
    path("consoles/", views.consoles, name="consoles"),
    path("consoles/<int:pk>/", views.console, name="console"),
    path("consoles/<int:pk>/ticket/", views.ticket, name="console-ticket"),
    path("consoles/<int:pk>/setup/", views.setup, name="console-setup"),
    path("consoles/<int:pk>/log/", log_views.log, name="console-log"),
    path("consoles/<int:pk>/log/line/", log_views.line, name="console-log-line"),
    path("consoles/<int:pk>/log/data/", log_views.data, name="console-log-data"),
    path("consoles/<int:pk>/log/<slug:shape>/", log_views.saved, name="console-saved"),
]
