"""Mounted at /api/tenancy/."""

from tenancy.rest import RESOURCES

urlpatterns = [route for resource in RESOURCES for route in resource.urls()]
