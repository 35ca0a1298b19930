"""How values stand in an answer: choices as {value, label}, related rows as brief objects, `url` and `display`.

Each field can be filled from a row of `values_list` alone: `lookups` says which columns it needs, `shape` makes the
value of them. That is what makes lists several times faster than serializing model instances (bench/api.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models.functions import JSONObject
from rest_framework import serializers
from rest_framework.request import Request

if TYPE_CHECKING:
    from core.api.resource import Resource

Shape = Callable[[Sequence[Any], Request | None], Any]
"""Makes one value of the columns that a field asked for."""


class Choice(serializers.ChoiceField):
    """Read as {"value", "label"}, written as the value (or as it was read)."""

    def lookups(self) -> list[str]:
        return [_path(self)]

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        return self.to_representation(values[0])

    def to_representation(self, value: Any) -> Any:
        return None if value in (None, "") else {"value": value, "label": str(self.choices.get(value, value))}

    def to_internal_value(self, data: Any) -> Any:
        value: Any = data.get("value") if isinstance(data, dict) else data
        return super().to_internal_value(value)


class Ref(serializers.RelatedField):  # type: ignore[type-arg]
    """A related row: read as its brief object, written as its id, or as {"name": …} or another unique attribute."""

    default_error_messages = {
        "missing": "There is no {what} with {how}.",
        "several": "There are several with {how}: give the id.",
        "kind": "Give the id of a {what}, or an object such as {{'name': …}}.",
    }

    def use_pk_only_optimization(self) -> bool:
        return False

    def resource(self) -> type[Resource]:
        from core.api.resource import resources

        assert self.model is not None
        registry: dict[type[models.Model], type[Resource]] = getattr(self.parent, "registry", None) or resources
        return registry[self.model]

    @property
    def model(self) -> type[models.Model] | None:
        queryset = getattr(self, "queryset", None)
        if queryset is not None:
            found: type[models.Model] = queryset.model
            return found
        parent: Any = self.parent
        related: type[models.Model] = parent.Meta.model._meta.get_field(self.source).related_model
        return related

    def lookups(self) -> list[str]:
        path = _path(self)
        return [f"{path}__{lookup}" for lookup in self.resource().brief_plan().lookups]

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        # The id leads every brief object; an outer join that found nothing has none.
        return self.resource().brief_plan().row(values, request) if values[0] is not None else None

    def to_representation(self, value: Any) -> Any:
        return self.resource().brief_plan().row_of(value, self.context.get("request"))

    def to_internal_value(self, data: Any) -> Any:
        what = self.resource().noun()
        how: dict[str, Any]
        if isinstance(data, dict) and data and all(isinstance(value, str | int) for value in data.values()):
            known = {"id", *self.resource().natural_keys()}
            how = {name: value for name, value in data.items() if name in known}
        elif isinstance(data, int | str) and not isinstance(data, bool) and str(data).isdecimal():
            how = {"id": data}
        else:
            how = {}
        if not how or len(str(how.get("id", ""))) > 18 or any("\x00" in str(value) for value in how.values()):
            self.fail("kind", what=what)
        try:
            found = list(self.resource().rows().filter(**how)[:2])
        except (ValueError, TypeError):
            self.fail("kind", what=what)
        if len(found) != 1:
            told = " and ".join(f"{name} {value!r}" for name, value in how.items())
            self.fail("several" if found else "missing", what=what, how=told)
        return found[0]


class Refs(serializers.ManyRelatedField):
    """Several related rows, as a list of brief objects. For reading, the resource's `rows` carry them in a column
    `<name>_rows`, made by `brief_rows`."""

    def lookups(self) -> list[str]:
        return [f"{self.field_name}_rows"]

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        plan = self._resource().brief_plan()
        return [plan.row([each[lookup] for lookup in plan.lookups], request) for each in values[0]]

    def _resource(self) -> type[Resource]:
        relation: Any = self.child_relation
        found: type[Resource] = relation.resource()
        return found


def brief_rows(resource: type[Resource], through: models.QuerySet[Any], path: str) -> ArraySubquery:
    """The column for a `Refs` field: for each row of `through`, in its order, what `path` leads to."""
    lookups = {lookup: f"{path}__{lookup}" for lookup in resource.brief_plan().lookups}
    return ArraySubquery(through.values(brief=JSONObject(**lookups)))


class Url(serializers.Field):  # type: ignore[type-arg]
    """The address of the row's detail."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "source": "*", "read_only": True})

    def lookups(self) -> list[str]:
        return ["pk"]

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        parent: Any = self.parent
        return parent.resource().url_of(values[0], request)


class Display(serializers.Field):  # type: ignore[type-arg]
    """The row in a word, for people: made of the lookups in the serializer's Meta.display."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "source": "*", "read_only": True})

    def lookups(self) -> list[str]:
        parent: Any = self.parent
        return list(getattr(parent.Meta, "display", ("name",)))

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        return " ".join(str(value) for value in values if value not in (None, ""))


def column(field: serializers.Field[Any, Any, Any, Any]) -> tuple[list[str], Shape]:
    """The lookups and the shape of any field; a plain one is the column as it is."""
    if hasattr(field, "lookups"):
        return field.lookups(), field.shape  # type: ignore[attr-defined]
    return [_path(field)], _plain


def _plain(values: Sequence[Any], request: Request | None) -> Any:
    return values[0]


def _path(field: serializers.Field[Any, Any, Any, Any]) -> str:
    return str(field.source).replace(".", "__")


class Plan:
    """Which columns to ask for and how to make rows of them, for some fields of a serializer."""

    def __init__(self, fields: Mapping[str, serializers.Field[Any, Any, Any, Any]]) -> None:
        self.lookups: list[str] = []
        self._parts: list[tuple[str, int, int, Shape]] = []
        self._refs: set[int] = set()
        for name, field in fields.items():
            lookups, shape = column(field)
            start = len(self.lookups)
            if isinstance(field, Ref):
                self._refs.add(start)
            self.lookups += lookups
            self._parts.append((name, start, len(self.lookups), shape))

    def row(self, values: Sequence[Any], request: Request | None) -> dict[str, Any]:
        return {
            name: values[start] if shape is _plain else shape(values[start:end], request)
            for name, start, end, shape in self._parts
        }

    def rows(self, page: Iterable[Sequence[Any]], request: Request | None) -> list[dict[str, Any]]:
        """One row for each of the page's; a related row that several refer to is made once."""
        made: dict[tuple[int, Any], Any] = {}

        def value(values: Sequence[Any], start: int, end: int, shape: Shape) -> Any:
            if start not in self._refs:
                return shape(values[start:end], request)
            # The id leads every brief object.
            key = (start, values[start])
            if key not in made:
                made[key] = shape(values[start:end], request)
            return made[key]

        return [
            {
                name: values[start] if shape is _plain else value(values, start, end, shape)
                for name, start, end, shape in self._parts
            }
            for values in page
        ]

    def row_of(self, instance: models.Model, request: Request | None) -> dict[str, Any]:
        """The same of a model instance, following its relations."""
        return self.row([_follow(instance, lookup) for lookup in self.lookups], request)


def _follow(instance: Any, lookup: str) -> Any:
    for step in lookup.split("__"):
        if instance is None:
            return None
        instance = getattr(instance, step)
    return instance
