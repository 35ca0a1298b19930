"""The audit trail as pages and as a file: of the whole team, and of one object."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
from django.apps import apps
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from core.scope import DOORS
from core.streaming import csv_lines, streamed
from core.views import page
from tenancy.access import needs
from tenancy.middleware import seat_of
from tenancy.models import Membership
from tenancy.roles import can
from tenancy.trail import ACTIONS, Change, Entry, Wanted, all_entries, entries, trails

PER_PAGE = 50
_HEAD = ("at", "who", "door", "action", "model", "object", "title", "field", "before", "after", "request", "key")


@require_safe
@needs("team.admin")
def audit(request: HttpRequest, slug: str) -> HttpResponse:
    """The whole trail, with filters in the address."""
    given = request.GET.dict()
    context = _listed(given) | {
        "section": "team",
        "tab": "audit",
        "given": given,
        "kinds": [(label, apps.get_model(label)._meta.verbose_name) for label in trails()],
        "actions": ACTIONS,
        "doors": DOORS,
        "people": list(Membership.objects.order_by("user__username").values_list("user__username", flat=True)),
        "narrowed": any(given.get(name) for name in Wanted.__dataclass_fields__),
        "query": urlencode({name: value for name, value in given.items() if name != "start"}),
    }
    return page(request, "tenancy/audit.html", context, "tenancy/_audit.html")


@require_safe
def history(request: HttpRequest, slug: str, model: str, pk: int) -> HttpResponse:
    """What was done to one object, also after it is gone."""
    if model not in trails():
        raise Http404
    seat = seat_of(request)
    # Who may do what, and who was invited, is for those who decide it.
    if not can(seat.role, "team.admin" if model.startswith("tenancy.") else "view"):
        raise PermissionDenied
    given = {"model": model, "object": str(pk), "start": request.GET.get("start", "")}
    context = _listed(given)
    if not context["entries"] and not apps.get_model(model)._default_manager.filter(pk=pk).exists():
        raise Http404
    context |= {"section": "", "title": context["entries"][0].title if context["entries"] else "", "one": True}
    context["kind"] = apps.get_model(model)._meta.verbose_name
    return page(request, "tenancy/history.html", context, "tenancy/_audit.html")


def _listed(given: dict[str, str]) -> dict[str, Any]:
    try:
        found = entries(Wanted.parse(given), start=given.get("start", ""), limit=PER_PAGE + 1)
    except ValidationError as error:
        return {"entries": [], "errors": error.message_dict, "older": ""}
    older = urlencode({**given, "start": found[PER_PAGE - 1].key}) if len(found) > PER_PAGE else ""
    return {"entries": found[:PER_PAGE], "errors": {}, "older": older}


@require_safe
@needs("team.admin")
def export(request: HttpRequest, slug: str, form: str) -> HttpResponseBase:
    """What the filters leave, whole: as CSV (a line a field) or as JSON lines (a line an entry)."""
    try:
        wanted = Wanted.parse(request.GET.dict())
    except ValidationError as error:
        lines = [f"{name}: {' '.join(told)}" for name, told in error.message_dict.items()]
        return HttpResponseBadRequest("\n".join(lines), content_type="text/plain; charset=utf-8")
    team = seat_of(request)
    if form == "csv":
        return streamed(
            team.team_id,
            lambda: _csv(wanted),
            content_type="text/csv; charset=utf-8",
            filename=f"audit-{team.slug}.csv",
        )
    return streamed(
        team.team_id,
        lambda: _json_lines(wanted),
        content_type="application/x-ndjson",
        filename=f"audit-{team.slug}.jsonl",
    )


def _csv(wanted: Wanted) -> Iterator[str]:
    yield csv_lines([_HEAD])
    for piece in all_entries(wanted):
        yield csv_lines(row for entry in piece for row in _csv_rows(entry))


def _csv_rows(entry: Entry) -> Iterator[list[Any]]:
    for change in entry.changes or [Change("", None, None)]:
        values = {"field": change.field, "before": _cell(change.before), "after": _cell(change.after)}
        yield [(entry.as_dict() | values)[name] for name in _HEAD]


def _cell(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _json_lines(wanted: Wanted) -> Iterator[bytes]:
    for piece in all_entries(wanted):
        yield b"".join(orjson.dumps(entry.as_dict(), option=orjson.OPT_APPEND_NEWLINE) for entry in piece)
