"""Search over the logs of all consoles, and what the team wants of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from consoles.forms import LogSettingsForm
from consoles.lines import MOST, lines_find
from consoles.log_models import ConsoleLine
from consoles.log_services import log_settings_get, log_settings_update
from consoles.models import ConsolePort
from core.text import moment
from core.views import page
from inventory.models import Device
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of

SHORTEST = 3
"""Characters of a text to search for: less is in every other line."""


@dataclass(frozen=True)
class Found:
    """A line, cut where it matches."""

    line: ConsoleLine
    before: str
    match: str
    after: str


@require_safe
@needs("console.read")
def search(request: HttpRequest, slug: str) -> HttpResponse:
    """Lines of all consoles, newest first; `q`, `port`, `device`, `since`, `until` narrow, `before` turns pages."""
    given = request.GET.dict()
    text = given.get("q", "").strip()[:200].replace("\0", "")
    errors: dict[str, str] = {}
    since, until = (_moment(given, name, errors) for name in ("since", "until"))
    if 0 < len(text) < SHORTEST:
        errors["q"] = f"Give at least {SHORTEST} characters to search for."
    found = []
    if not errors:
        before = _id(given, "before")
        found = lines_find(text=text, ports=_ports(given), since=since, until=until, before=before, most=MOST + 1)
    more = {name: value for name, value in given.items() if name != "before"}
    context = {
        "section": "consoles", "given": given | {"q": text}, "errors": errors,
        "found": [_cut(line, text) for line in found[:MOST]],
        "query": urlencode(more),
        "older": urlencode(more | {"before": found[MOST - 1].pk}) if len(found) > MOST else "",
        "narrowed": any(given.get(name) for name in ("q", "port", "device", "since", "until")),
        "ports": list(ConsolePort.objects.select_related("agent").order_by("title", "name")),
        "devices": list(Device.objects.filter(consoles__isnull=False).distinct().order_by("name")),
    }  # fmt: skip
    return page(request, "consoles/search.html", context, "consoles/_found.html")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
def log_settings(request: HttpRequest, slug: str) -> HttpResponse:
    current = log_settings_get()
    trouble = current.trouble
    form = LogSettingsForm(request.POST or None, current)
    if form.is_valid():
        try:
            log_settings_update(settings=current, **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, "It is so from now on.")
            return redirect("console-log-settings", seat_of(request).slug)
    context: dict[str, Any] = {"section": "consoles", "form": form, "trouble": trouble}
    return render(request, "consoles/log_settings.html", context)


def _cut(line: ConsoleLine, text: str) -> Found:
    at = line.text.lower().find(text.lower()) if text else -1
    if at < 0 or line.text[at : at + len(text)].lower() != text.lower():
        return Found(line, line.text, "", "")
    return Found(line, line.text[:at], line.text[at : at + len(text)], line.text[at + len(text) :])


def _ports(given: dict[str, str]) -> list[int] | None:
    """The ports that are asked for; None for all."""
    port, device = _id(given, "port"), _id(given, "device")
    if port is None and device is None:
        return None
    rows = ConsolePort.objects.all()
    rows = rows if port is None else rows.filter(pk=port)
    return list((rows if device is None else rows.filter(device=device)).values_list("pk", flat=True))


def _id(given: dict[str, str], name: str) -> int | None:
    text = given.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _moment(given: dict[str, str], name: str, errors: dict[str, str]) -> datetime | None:
    try:
        return moment(given[name]) if given.get(name) else None
    except ValueError as error:
        errors[name] = f"Give {error}."
        return None
