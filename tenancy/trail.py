"""The audit trail of the team in scope: all its event tables as one list, newest first.

Each table is read along its index on (team, time) and gives no more rows than one page holds, so a page costs the same
however long the trail is. A page goes on behind the key of its last entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Func, Q, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from core.scope import DOORS
from core.text import moment
from tenancy.audit import AuditEvent
from tenancy.models import User

ACTIONS = ("insert", "update", "delete")
_KEY = re.compile(r"^(\d{1,18})\.(\d{1,18})\.([a-z]+\.[a-z]+)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = ("name", "username", "title", "email")
"""The field that says what a row is called; the first that a model has."""


@dataclass(frozen=True)
class Wanted:
    """Which entries. `who` is a person, a token, a task or a command by name; `q` is looked for in every value."""

    model: str = ""
    object: int | None = None
    action: str = ""
    door: str = ""
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Wanted:
        """From the parameters of an address; ValidationError names what is no value of its parameter."""
        errors, values = {}, {}
        for name, read in _READ.items():
            text = given.get(name, "").strip()
            if not text:
                continue
            try:
                if "\0" in text:
                    raise ValueError("a text without NUL characters")
                values[name] = read(text)
            except ValueError as error:
                errors[name] = f"{text[:60]!r} does not fit: use {error}."
        if values.get("object") and not values.get("model"):
            errors["object"] = "An object is told by its model too: name both."
        if errors:
            raise ValidationError(errors)
        return cls(**values)


@dataclass(frozen=True)
class Change:
    """One field. `before` is None of what was made, `after` of what was deleted; references are shown by name."""

    field: str
    before: Any
    after: Any

    @property
    def was(self) -> str:
        return _text(self.before)

    @property
    def now(self) -> str:
        return _text(self.after)


@dataclass(frozen=True)
class Entry:
    """Who did what to which object, when. `key` is its place in the trail."""

    key: str
    at: datetime
    action: str
    model: str
    object: int
    title: str
    who: str
    context: dict[str, Any]
    changes: list[Change] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return apps.get_model(self.model)._meta.verbose_name or self.model

    @property
    def door(self) -> str:
        return str(self.context.get("door", ""))

    def as_dict(self) -> dict[str, Any]:
        """For scripts: JSON values."""
        return {
            "key": self.key,
            "at": self.at.isoformat(),
            "who": self.who,
            "door": self.door,
            "user": self.context.get("user"),
            "token": self.context.get("token"),
            "token_name": self.context.get("token_name", ""),
            "request": self.context.get("request", ""),
            "action": self.action,
            "model": self.model,
            "object": self.object,
            "title": self.title,
            "changes": [{"field": each.field, "before": each.before, "after": each.after} for each in self.changes],
        }


@cache
def trails() -> dict[str, type[AuditEvent]]:
    """The event table of each tracked model, by the model's label."""
    events = [model for model in apps.get_models() if issubclass(model, AuditEvent)]
    return dict(sorted((event.pgh_tracked_model._meta.label_lower, event) for event in events))  # type: ignore[attr-defined]


def entries(wanted: Wanted, *, start: str = "", limit: int = 50) -> list[Entry]:
    """At most `limit` entries behind the one with the key `start`; ValidationError where that is no key."""
    chosen = {wanted.model: trails()[wanted.model]} if wanted.model else trails()
    narrow = _narrow(wanted)
    place = _place(start) if start else None
    branches = [_branch(label, event, narrow, wanted.q, place, limit) for label, event in chosen.items()]
    if len(branches) > 1:
        together = branches[0].union(*branches[1:], all=True)
        return _told(list(together.order_by("-pgh_created_at", "-label", "-pgh_id")[:limit]))
    return _told(list(branches[0]))


def all_entries(wanted: Wanted, piece: int = 1000) -> Iterator[list[Entry]]:
    """Everything that is wanted, a piece at a time."""
    rows = entries(wanted, limit=piece)
    while rows:
        yield rows
        rows = entries(wanted, start=rows[-1].key, limit=piece) if len(rows) == piece else []


class _WholeRow(Func):
    """The row as JSON, so that tables of different columns can stand in one list."""

    output_field = models.JSONField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, list[Any]]:
        return f"to_jsonb({connection.ops.quote_name(compiler.query.get_initial_alias())})", []


def _branch(
    label: str, event: type[AuditEvent], narrow: Q, q: str, place: tuple[datetime, int, str] | None, limit: int
) -> models.QuerySet[Any, Any]:
    rows: models.QuerySet[Any, Any] = event.objects.annotate(label=Value(label, TextField()), row=_WholeRow()).filter(
        narrow
    )
    if q:
        rows = rows.alias(haystack=_haystack(event)).filter(haystack__icontains=q)
    if place:
        at, number, last = place
        # The list is ordered by (time, label, number): what follows `place` in this table.
        earlier = Q(pgh_created_at__lt=at)
        same = Q(pgh_created_at=at, pgh_id__lt=number) if label == last else Q(pgh_created_at=at)
        rows = rows.filter(pgh_created_at__lte=at).filter(earlier if label > last else earlier | same)
    return rows.order_by("-pgh_created_at", "-pgh_id").values("label", "pgh_id", "pgh_created_at", "row")[:limit]


def _narrow(wanted: Wanted) -> Q:
    """What every event table is filtered by; they share these columns."""
    narrow = Q()
    if wanted.object is not None:
        narrow &= Q(pgh_obj=wanted.object)
    if wanted.action:
        narrow &= Q(pgh_label=wanted.action)
    if wanted.door:
        narrow &= Q(pgh_context__door=wanted.door)
    if wanted.who:
        users = list(User.objects.filter(username__iexact=wanted.who).values_list("pk", flat=True))
        narrow &= (
            Q(pgh_context__name__iexact=wanted.who)
            | Q(pgh_context__token_name__iexact=wanted.who)
            | Q(pgh_context__user__in=users)
        )
    if wanted.since:
        narrow &= Q(pgh_created_at__gte=wanted.since)
    if wanted.until:
        narrow &= Q(pgh_created_at__lt=wanted.until)
    return narrow


def _haystack(event: type[AuditEvent]) -> Func:
    """Every text of an event: its fields, what they were before, and who did it."""
    texts = [each.name for each in _fields(event) if isinstance(each, models.CharField | models.TextField)]
    others = [each.name for each in _fields(event) if isinstance(each, models.JSONField | models.GenericIPAddressField)]
    before = Func("pgh_before", template="(SELECT string_agg(j.value, ' ') FROM jsonb_each_text(%(expressions)s) j)")
    who = (KeyTextTransform(name, "pgh_context") for name in ("name", "token_name"))
    cast = (Cast(name, TextField()) for name in others)
    return Func(Value(" "), *texts, *cast, before, *who, function="concat_ws", output_field=TextField())


def _told(rows: list[dict[str, Any]]) -> list[Entry]:
    """Entries of rows, with references and people by name: one query for all of them."""
    names = _names(rows)
    return [_entry(row, names) for row in rows]


def _entry(row: dict[str, Any], names: dict[tuple[str, int], str]) -> Entry:
    event, held = trails()[row["label"]], row["row"]
    action, context, before = held["pgh_label"], held["pgh_context"] or {}, held["pgh_before"] or {}
    shown: dict[str, Any] = {}
    changes = []
    for each in _fields(event):
        now = _value(each, held[each.column], names)
        shown[each.name] = now
        if action == "update" and each.column in before:
            changes.append(Change(each.name, _value(each, before[each.column], names), now))
        elif action != "update" and now not in (None, "", [], {}):
            changes.append(Change(each.name, *((None, now) if action == "insert" else (now, None))))
    title = next((str(shown[name]) for name in _NAMES if shown.get(name)), "")
    reference = next((each.name for each in _fields(event) if isinstance(each, models.ForeignKey)), "")
    at = row["pgh_created_at"]
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    return Entry(
        key=f"{micros}.{row['pgh_id']}.{row['label']}",
        at=at,
        action=action,
        model=row["label"],
        object=held["pgh_obj_id"],
        title=title or str(shown.get(reference) or held["pgh_obj_id"]),
        who=_who(context, names),
        context=context,
        changes=changes,
    )


def _who(context: dict[str, Any], names: dict[tuple[str, int], str]) -> str:
    person = names.get((User._meta.label_lower, context.get("user") or 0)) or context.get("name")
    if token := context.get("token_name"):
        return f"{person}, token {token}" if person else f"token {token}"
    return str(person or "the database")


def _names(rows: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """What the rows that are mentioned are called now, by (model, id); rows that are gone are not in it."""
    mentioned: dict[type[models.Model], set[int]] = {}
    for row in rows:
        held = row["row"]
        for each in _fields(trails()[row["label"]]):
            if isinstance(each, models.ForeignKey):
                ids = {held[each.column], (held["pgh_before"] or {}).get(each.column)} - {None}
                mentioned.setdefault(each.related_model, set()).update(ids)  # type: ignore[arg-type]
        if user := (held["pgh_context"] or {}).get("user"):
            mentioned.setdefault(User, set()).add(user)
    queries = [
        model._default_manager.filter(pk__in=ids)
        .annotate(label=Value(model._meta.label_lower, TextField()), called=Cast(name, TextField()))
        .order_by()
        .values_list("label", "pk", "called")
        for model, ids in sorted(mentioned.items(), key=lambda item: item[0]._meta.label)
        if ids and (name := _name_field(model))
    ]
    if not queries:
        return {}
    found = queries[0].union(*queries[1:], all=True) if queries[1:] else queries[0]
    return {(label, pk): called for label, pk, called in found}


@cache
def _fields(event: type[AuditEvent]) -> list[models.Field[Any, Any]]:
    """The tracked fields, without the id."""
    return [each for each in event._meta.fields if not each.name.startswith("pgh_") and each.name not in ("id", "team")]


@cache
def _name_field(model: type[models.Model]) -> str:
    known = {each.name for each in model._meta.fields}
    return next((name for name in _NAMES if name in known), "")


def _value(each: models.Field[Any, Any], value: Any, names: dict[tuple[str, int], str]) -> Any:
    if value is None or not isinstance(each, models.ForeignKey):
        return value
    model: Any = each.related_model
    return names.get((model._meta.label_lower, value), f"{model._meta.verbose_name} {value}")


def _text(value: Any) -> str:
    """A value as a page shows it."""
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _place(key: str) -> tuple[datetime, int, str]:
    match = _KEY.match(key)
    if match is None or match[3] not in trails():
        raise ValidationError({"start": "This is no key of the trail: take one from an earlier answer."})
    try:
        return _EPOCH + timedelta(microseconds=int(match[1])), int(match[2]), match[3]
    except OverflowError:
        raise ValidationError({"start": "This is no key of the trail: take one from an earlier answer."}) from None


def _one_of(*known: str) -> Any:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return text

    return read


def _model(text: str) -> str:
    read: str = _one_of(*trails())(text.lower())
    return read


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise ValueError("the number of an object")
    return int(text)


_READ: dict[str, Any] = {
    "model": _model,
    "object": _number,
    "action": _one_of(*ACTIONS),
    "door": _one_of(*DOORS),
    "who": lambda text: text[:150],
    "since": moment,
    "until": moment,
    "q": lambda text: text[:100],
}
