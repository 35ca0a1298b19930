"""How every page is answered: whole to a browser, its live part alone to htmx."""

from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails


def page(request: HttpRequest, template: str, context: dict[str, Any], part: str = "") -> HttpResponse:
    """Render `template`, or only `part` of it where htmx asks to refresh what is already open."""
    htmx = cast(HtmxDetails, request.htmx)  # type: ignore[attr-defined]
    fragment = part and htmx and not htmx.history_restore_request and not htmx.boosted
    response = render(request, part if fragment else template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response
