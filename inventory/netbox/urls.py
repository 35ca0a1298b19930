"""Mounted at /netbox/api/."""

from collections.abc import Iterator

from django.urls import URLPattern, path, re_path

from inventory.netbox import views
from inventory.netbox.addresses import IpAddress, IpAddresses
from inventory.netbox.base import versioned
from inventory.netbox.shapes import RESOURCES, Prefixes


def _empty() -> Iterator[URLPattern]:
    for app, names in views.EMPTY.items():
        for name in names.split():
            yield path(f"{app}/{name}/", versioned(views.NoRows.as_view()), name=f"netbox-{app}-{name}")
            one = versioned(views.NoRow.as_view())
            yield path(f"{app}/{name}/<int:pk>/", one, name=f"netbox-{app}-{name}-detail")


urlpatterns = [
    path("", versioned(views.Root.as_view()), name="netbox-root"),
    path("status/", versioned(views.Status.as_view()), name="netbox-status"),
    path("schema/", versioned(views.Schema.as_view()), name="netbox-schema"),
    re_path(r"^dcim/interfaces/(?P<pk>\d{15})/$", versioned(views.RouterPort.as_view()), name="netbox-router-port"),
    *(
        path(f"{each.app}/{route.pattern}", route.callback, name=route.name or "")
        for each in RESOURCES
        for route in each.urls()
    ),
    # nb_inventory asks for this one without the slash at its end.
    re_path("^ipam/prefixes$", next(iter(Prefixes.urls())).callback, name="netbox-ipam-prefixes-bare"),
    path("ipam/ip-addresses/", versioned(IpAddresses.as_view()), name="netbox-ipam-ip-addresses"),
    path("ipam/ip-addresses/<int:pk>/", versioned(IpAddress.as_view()), name="netbox-ipam-ip-addresses-detail"),
    *_empty(),
    path("<slug:app>/", versioned(views.App.as_view()), name="netbox-app"),
]
