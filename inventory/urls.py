"""Pages of the network, under /t/<team>/."""

from django.urls import path

from inventory import import_views, views

urlpatterns = [
    path("topology/", views.topology, name="topology"),
    path("topology/data/", views.topology_data, name="topology-data"),
    path("devices/", views.devices, name="devices"),
    path("devices/<int:pk>/", views.device, name="device"),
    path("links/", views.links, name="links"),
    path("links/<int:pk>/", views.link, name="link"),
    path("import/", import_views.imports, name="imports"),
    path("import/<int:pk>/", import_views.one_import, name="import"),
    path("export/<slug:kind>.csv", import_views.export, name="export"),
]
