"""The filters of a list, in NetBox's dialect, made from the model's fields.

`?name=a&name=b` is one or the other; `name__n` neither. `__ic` contains, `__isw` starts with, `__iew` ends with, `__ie`
is (whatever the case), each with an `n` before it for the opposite; `__gt`, `__gte`, `__lt`, `__lte` compare; `__empty`
is true or false; `__in` takes a list with commas. A related row is named by slug or name (`site=`), or by `site_id=`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from django.core.exceptions import FieldError
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, models
from django.db.models import Q
from rest_framework import exceptions

from core.text import moment

_TEXT = {"ic": "icontains", "isw": "istartswith", "iew": "iendswith", "ie": "iexact"}
_COMPARE = ("gt", "gte", "lt", "lte")
MAX_VALUES = 1000


@dataclass(frozen=True)
class Filter:
    """One query parameter. `lookup` is Django's, `kind` the OpenAPI type of a value; `blank` asks for an empty text."""

    lookup: str
    kind: str
    negative: bool = False
    split: bool = False
    parse: Callable[[str], Any] = str
    blank: bool = False

    def q(self, values: list[str]) -> Q:
        if self.blank:
            return Q(**{self.lookup: ""}) if self.parse(values[-1]) else ~Q(**{self.lookup: ""})
        if self.split:
            values = [each for value in values for each in value.split(",")]
        if len(values) > MAX_VALUES:
            raise ValueError(f"Give at most {MAX_VALUES} values.")
        match = Q()
        parsed = [self.parse(value) for value in values]
        if self.lookup.endswith("__in"):
            match = Q(**{self.lookup: parsed})
        else:
            for value in parsed:
                match |= Q(**{self.lookup: value})
        return ~match if self.negative else match


def truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("Say true or false.")
    return text.lower() in ("true", "1")


def _integer(text: str) -> int:
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal() and len(text) < 19):
        raise ValueError("Give a whole number.")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("Give a number.")
    return value


def _moment(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError as error:
        raise ValueError(f"Give {error}.") from None


def of_field(name: str, field: Any, path: str = "") -> dict[str, Filter]:
    """The filters of one model field, by the names of their query parameters."""
    path = path or field.name
    if isinstance(field, models.ForeignKey):
        related: Any = field.related_model
        columns = {each.name for each in related._meta.concrete_fields}
        key = next((each for each in ("slug", "name", "username") if each in columns), "pk")
        return {
            **of_field(f"{name}_id", related._meta.pk, f"{path}_id"),
            **_pair(name, f"{path}__{key}", "integer" if key == "pk" else "string", _integer if key == "pk" else str),
        }
    if isinstance(field, models.BooleanField):
        return {name: Filter(path, "boolean", parse=truth), f"{name}__n": Filter(path, "boolean", True, parse=truth)}
    if isinstance(field, models.DateTimeField):
        found = _pair(name, path, "date-time", _moment) | _compared(name, path, "date-time", _moment)
        return found | _empty(name, path, False)
    if isinstance(field, models.FloatField):
        return _pair(name, path, "number", _number) | _compared(name, path, "number", _number)
    if isinstance(field, models.IntegerField):
        found = _pair(name, path, "integer", _integer) | _compared(name, path, "integer", _integer)
        return found | _empty(name, path, False)
    if isinstance(field, models.GenericIPAddressField):
        return _pair(name, path, "ip", lambda text: str(ip_address(text))) | _empty(name, path, False)
    if isinstance(field, models.CharField | models.TextField):
        return _pair(name, path, "string") | _texts(name, path) | _empty(name, path, True)
    return {}


def _pair(name: str, path: str, kind: str, parse: Callable[[str], Any] = str) -> dict[str, Filter]:
    return {
        name: Filter(f"{path}__in", kind, parse=parse),
        f"{name}__n": Filter(f"{path}__in", kind, True, parse=parse),
        f"{name}__in": Filter(f"{path}__in", kind, split=True, parse=parse),
    }


def _compared(name: str, path: str, kind: str, parse: Callable[[str], Any] = str) -> dict[str, Filter]:
    return {f"{name}__{how}": Filter(f"{path}__{how}", kind, parse=parse) for how in _COMPARE}


def _texts(name: str, path: str) -> dict[str, Filter]:
    found = {}
    for how, lookup in _TEXT.items():
        found[f"{name}__{how}"] = Filter(f"{path}__{lookup}", "string")
        found[f"{name}__n{how}"] = Filter(f"{path}__{lookup}", "string", True)
    return found


def _empty(name: str, path: str, text: bool) -> dict[str, Filter]:
    return {f"{name}__empty": Filter(path if text else f"{path}__isnull", "boolean", parse=truth, blank=text)}


def narrowed(
    queryset: models.QuerySet[Any], asked: Mapping[str, list[str]], known: Mapping[str, Filter]
) -> models.QuerySet[Any]:
    """`queryset` under the filters that were asked for; raises ValidationError naming the parameter."""
    for name, values in asked.items():
        given = known[name]
        try:
            queryset = queryset.filter(given.q(values))
        except (ValueError, TypeError, FieldError, DjangoValidationError, DataError) as error:
            said = error.messages[0] if isinstance(error, DjangoValidationError) else str(error)
            raise exceptions.ValidationError({name: [f"{values[0]!r} cannot be used here: {said}"]}) from None
    return queryset
