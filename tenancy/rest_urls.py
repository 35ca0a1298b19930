"""Mounted at /api/tenancy/."""

from django.urls import path

from tenancy.audit_rest import AuditView
from tenancy.rest import RESOURCES

urlpatterns = [
    *(route for resource in RESOURCES for route in resource.urls()),
    path("audit/", AuditView.as_view(), name="api-tenancy-audit"),
]
