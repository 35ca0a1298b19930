"""Pages of rules: the list with the ready-made packs, and one rule, which can be tried on what a port said."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from consoles import rules
from consoles.models import ConsoleMatch, ConsolePort, ConsoleRule
from consoles.packs import packs
from consoles.patterns import complaint
from consoles.rule_forms import RuleForm, TryForm
from consoles.rule_selectors import Tried, tried
from core.listing import Column, Listing
from core.views import page
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of

COLUMNS = (
    Column("Rule", "name", "name"),
    Column("State", "state", "enabled"),
    Column("Severity", "severity", "severity"),
    Column("Ports", "ports", "only"),
    Column("Quiet after"),
    Column("Matched", "last", "last"),
)


@require_safe
@needs("console.read")
def rule_list(request: HttpRequest, slug: str) -> HttpResponse:
    listing = Listing(request, COLUMNS, ("name", "pattern"))
    matches = ConsoleMatch.objects.filter(rule=OuterRef("pk")).values("rule")
    found = matches.annotate(lines=Sum("count"), at=models.Max("last"))
    rows = ConsoleRule.objects.annotate(
        lines=Coalesce(Subquery(found.values("lines")), 0, output_field=models.BigIntegerField()),
        last=Subquery(found.values("at")),
    )
    listing.fill(rows, "id", "name", "pattern", "enabled", "severity", "only", "hold_s", "lines", "last")
    on = dict(
        ConsoleRule.objects.exclude(pack="").filter(enabled=True).values_list("pack").annotate(models.Count("pk"))
    )
    shelf = [
        {"name": name, "title": pack.title, "about": pack.about, "rules": len(pack.rules), "on": on.get(name, 0)}
        for name, pack in packs().items()
    ]
    context = {"section": "consoles", "listing": listing, "packs": shelf}
    return page(request, "consoles/rules.html", context, "consoles/_rules.html")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def rule_new(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def rule_edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _edit(request, get_object_or_404(ConsoleRule.objects.all(), pk=pk))


@require_POST
@needs("change")
def rule_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    rule = get_object_or_404(ConsoleRule.objects.all(), pk=pk)
    rules.rule_delete(rule=rule)
    messages.success(request, f"{rule.name} is deleted.")
    return redirect("console-rules", slug)


@require_POST
@needs("change")
def pack_switch(request: HttpRequest, slug: str, pack: str) -> HttpResponse:
    """POST `on`: 1 or empty."""
    if pack not in packs():
        raise Http404
    on = request.POST.get("on") == "1"
    try:
        count = rules.pack_switch(pack=pack, on=on)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{packs()[pack].title}: {count} rules switched {'on' if on else 'off'}.")
    return redirect("console-rules", slug)


def _edit(request: HttpRequest, rule: ConsoleRule | None) -> HttpResponse:
    data = request.POST or None
    trying = data is not None and "try" in data
    shown = str(rule) if rule else "New rule"
    form, try_form, outcome = RuleForm(data, rule), TryForm(data), None
    if trying:
        outcome = _outcome(form, try_form)
    elif form.is_valid():
        try:
            rule = _save(rule, form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, f"{rule} is saved.")
            return redirect("console-rules", seat_of(request).slug)
    context = {"section": "consoles", "form": form, "try_form": try_form, "rule": rule, "shown": shown}
    return render(request, "consoles/rule.html", {**context, "outcome": outcome})


def _save(rule: ConsoleRule | None, values: dict[str, Any]) -> ConsoleRule:
    return rules.rule_update(rule=rule, **values) if rule else rules.rule_create(**values)


def _outcome(form: RuleForm, try_form: TryForm) -> Tried | None:
    """What the pattern finds; None with an error on the form."""
    form.is_valid()
    try_form.is_valid()
    pattern = form.cleaned_data.get("pattern", "")
    port: ConsolePort | None = try_form.cleaned_data.get("port")
    if port is None and "port" not in try_form.errors:
        try_form.add_error("port", "Choose the console on whose log it is tried.")
    if pattern and (wrong := complaint(pattern)):
        form.add_error("pattern", wrong)
    if port is None or not pattern or "pattern" in form.errors:
        return None
    return tried(port=port, pattern=pattern)
