"""Tables in and out: send one, see its diff, have it written; and the same tables to be saved."""

from typing import Any, cast

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_safe

from core.streaming import streamed
from core.views import page
from inventory.imports import jobs
from inventory.imports.tables import TABLES
from inventory.imports.text import decoded, exported
from inventory.models import InventoryImport
from tenancy.access import needs
from tenancy.middleware import seat_of
from tenancy.models import User


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def imports(request: HttpRequest, slug: str) -> HttpResponse:
    """The form and what was sent lately; POST sends a table."""
    errors: dict[str, list[str]] = {}
    asked = {name: request.POST.get(name, "") for name in ("kind", "text")}
    if request.method == "POST":
        try:
            text = asked["text"]
            if upload := request.FILES.get("file"):
                text = decoded(upload.read())
            made = jobs.import_start(kind=asked["kind"], text=text, user=cast(User, request.user))
            return redirect("import", slug, made.pk)
        except ValidationError as error:
            errors = error.message_dict
    context = {
        "section": "devices",
        "kinds": {kind: ("id", *table.columns) for kind, table in TABLES.items()},
        "asked": asked,
        "errors": errors,
        "recent": InventoryImport.objects.defer("text").select_related("user").order_by("-id")[:10],
    }
    response = page(request, "inventory/imports.html", context)
    response.status_code = 400 if errors else 200
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def one_import(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How it goes, or its diff; POST has it written."""
    row = get_object_or_404(InventoryImport.objects.defer("text").select_related("user"), pk=pk)
    error = ""
    if request.method == "POST":
        try:
            jobs.import_commit(row=row, user=cast(User, request.user))
            return redirect("import", slug, pk)
        except ValidationError as refused:
            error = refused.messages[0]
    done, total = jobs.progress(pk) if row.state in row.BUSY else (0, 0)
    context: dict[str, Any] = {
        "section": "devices",
        "row": row,
        "busy": row.state in row.BUSY,
        "done": done,
        "of": total or row.total,
        "error": error,
    }
    return page(request, "inventory/import.html", context, "inventory/_import.html")


@require_safe
def export(request: HttpRequest, slug: str, kind: str) -> HttpResponseBase:
    """Everything of one kind as CSV, however much it is."""
    if kind not in TABLES:
        raise Http404
    name = f"{slug}-{kind}.csv"
    content = "text/csv; charset=utf-8"
    return streamed(seat_of(request).team_id, lambda: exported(kind), content_type=content, filename=name)
