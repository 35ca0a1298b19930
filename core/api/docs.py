"""/api/schema/ and /api/docs/: what the API is. They hold nothing of any team and are open to everyone."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe


@require_safe
@cache_control(max_age=300)
def schema(request: HttpRequest) -> HttpResponse:
    # Making it takes a second and 20 MB that only those who ask for it pay.
    from core.api.schema import document

    return HttpResponse(document(), content_type="application/vnd.oai.openapi+json")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "core/api.html")
