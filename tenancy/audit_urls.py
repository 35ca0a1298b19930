"""The audit trail, under /t/<team>/audit/."""

from django.urls import path, re_path

from tenancy import audit_views as views

urlpatterns = [
    path("", views.audit, name="audit"),
    re_path(r"^export\.(?P<form>csv|jsonl)$", views.export, name="audit-export"),
    path("<str:model>/<int:pk>/", views.history, name="history"),
]
