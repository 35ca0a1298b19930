"""Resource: one model's place under /api/, with the queries of its lists and the services of its writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import orjson
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.urls import URLPattern, path
from django.utils.crypto import salted_hmac
from rest_framework import exceptions
from rest_framework.request import Request

from core.api import filters
from core.api.fields import Plan
from core.api.rows import Row

resources: dict[type[models.Model], type[Resource]] = {}
"""The resource of each model under /api/: where references to it lead."""


class Resource:
    """Subclass it with a `row`; what it can write is what it defines of `create`, `update` and `delete`.

    `search` names the lookups of `?q=`, `ordering` the default order by names of fields, `more_filters` query
    parameters beside those of the row's fields. `reading` and `capability` are what reading and writing need.
    """

    row: ClassVar[type[Row]]
    plural: ClassVar[str]
    search: ClassVar[tuple[str, ...]] = ()
    ordering: ClassVar[tuple[str, ...]] = ("id",)
    more_filters: ClassVar[Mapping[str, filters.Filter]] = {}
    reading: ClassVar[str] = "view"
    capability: ClassVar[str] = "change"
    # What POST and DELETE need, where it is more than that.
    creating: ClassVar[str] = ""
    deleting: ClassVar[str] = ""
    # Whether create, update and delete want to know who asks: they get the `request` too.
    takes_request: ClassVar[bool] = False
    prefix: ClassVar[str] = "/api"
    registry: ClassVar[dict[type[models.Model], type[Resource]]] = resources

    def __init_subclass__(cls) -> None:
        if "row" in cls.__dict__:
            cls.registry[cls.row.Meta.model] = cls

    # What a room may override

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        """Everything the team in scope has of it."""
        return cls.model()._default_manager.all()

    # create(**values) -> row, update(row, **values) -> row and delete(row) call one service each. What `create` puts
    # into `row.shown_once` is in its answer and never again.
    create: ClassVar[Any] = None
    update: ClassVar[Any] = None
    delete: ClassVar[Any] = None

    # What is made of that

    @classmethod
    def model(cls) -> type[models.Model]:
        return cls.row.Meta.model

    @classmethod
    def noun(cls) -> str:
        return str(cls.model()._meta.verbose_name)

    @classmethod
    def room(cls) -> str:
        return cls.model()._meta.app_label

    @classmethod
    def urls(cls) -> list[URLPattern]:
        """The routes of list and detail, to be included under /api/<app>/."""
        from core.api.views import detail_view, list_view

        name = f"{cls.prefix.strip('/').replace('/', '-')}-{cls.room()}-{cls.plural}"
        routes = [path(f"{cls.plural}/", list_view(cls), name=name)]
        return [*routes, path(f"{cls.plural}/<int:pk>/", detail_view(cls), name=f"{name}-detail")]

    @classmethod
    def url_of(cls, pk: Any, request: Request | None) -> str:
        return f"{_base(request)}{cls.prefix}/{cls.room()}/{cls.plural}/{pk}/"

    @classmethod
    @cache
    def serializer(cls) -> Row:
        """One instance for reading; it holds no state of a request."""
        return cls.row()

    @classmethod
    @cache
    def readable(cls) -> Mapping[str, Any]:
        return {name: field for name, field in cls.serializer().fields.items() if not field.write_only}

    @classmethod
    @cache
    def plan(cls) -> Plan:
        return Plan(cls.readable())

    @classmethod
    @cache
    def brief_plan(cls) -> Plan:
        return cls._plan_of(("id", *(name for name in cls.row.Meta.brief if name != "id")))

    @classmethod
    def _plan_of(cls, names: Iterable[str]) -> Plan:
        known = cls.readable()
        return Plan({name: known[name] for name in names})

    @classmethod
    def plan_for(cls, asked: Mapping[str, str]) -> Plan:
        """The plan of `?fields=`, `?omit=` and `?brief=1`; raises ValidationError naming what is unknown."""
        known = list(cls.readable())
        try:
            brief = filters.truth(asked.get("brief") or "0")
        except ValueError as error:
            raise exceptions.ValidationError({"brief": [str(error)]}) from None
        if brief:
            return cls.brief_plan()
        named = {each: [name for name in asked.get(each, "").split(",") if name] for each in ("fields", "omit")}
        for parameter, names in named.items():
            if unknown := sorted(set(names) - set(known)):
                raise exceptions.ValidationError(
                    {parameter: [f"There is no field {', '.join(unknown)}: use some of {', '.join(known)}."]}
                )
        if not any(named.values()):
            return cls.plan()
        return cls._plan_of(name for name in named["fields"] or known if name not in named["omit"])

    @classmethod
    @cache
    def natural_keys(cls) -> frozenset[str]:
        """The columns by which a reference may name a row."""
        columns = {field.name for field in cls.model()._meta.concrete_fields}
        return frozenset({"name", "slug", "username", "address"} & columns)

    @classmethod
    @cache
    def filters(cls) -> Mapping[str, filters.Filter]:
        found: dict[str, filters.Filter] = {}
        for name, field in cls.readable().items():
            if column := cls._column(str(field.source)):
                found |= filters.of_field(name, column, str(field.source).replace(".", "__"))
        return found | dict(cls.more_filters)

    @classmethod
    def _column(cls, source: str) -> models.Field[Any, Any] | None:
        model: Any = cls.model()
        field: Any = None
        for step in source.split("."):
            try:
                field = model._meta.get_field(step)
            except FieldDoesNotExist:
                return None
            model = getattr(field, "related_model", None)
        return field if getattr(field, "concrete", False) else None

    @classmethod
    @cache
    def orders(cls) -> Mapping[str, str]:
        """What `?ordering=` may name, and the column it sorts by: names in their natural order."""
        found = {}
        for name, field in cls.readable().items():
            source = str(field.source)
            column = cls._column(source)
            if column is None or isinstance(column, models.JSONField):
                continue
            lookup = source.replace(".", "__")
            model: Any = column.model
            if isinstance(column, models.ForeignKey):
                model, lookup = column.related_model, f"{lookup}__name"
            columns = {each.name for each in model._meta.concrete_fields}
            if lookup.endswith("name") and "sort_key" in columns:
                lookup = lookup.removesuffix("name") + "sort_key"
            elif isinstance(column, models.ForeignKey) and "name" not in columns:
                lookup = source.replace(".", "__") + "_id"
            found[name] = lookup
        return found

    @classmethod
    def ordered(cls, queryset: models.QuerySet[Any], names: Sequence[str]) -> models.QuerySet[Any]:
        """In the order of `names`, then by id, so that no two rows change places between pages."""
        known = cls.orders()
        order = []
        for name in names:
            bare = name.removeprefix("-")
            if bare not in known:
                raise exceptions.ValidationError(
                    {"ordering": [f"{bare!r} is not one of {', '.join(known)}; put - before it to reverse."]}
                )
            order.append(("-" if name.startswith("-") else "") + known[bare])
        return queryset.order_by(*order, "pk")

    @classmethod
    def shown(cls, ids: Sequence[Any], request: Request | None) -> list[dict[str, Any]]:
        """Rows in full, in the order of `ids`."""
        plan = cls.plan()
        found = {
            values[0]: plan.row(values[1:], request)
            for values in cls.rows().filter(pk__in=ids).values_list("pk", *plan.lookups)
        }
        return [found[pk] for pk in ids if pk in found]

    @classmethod
    def etag(cls, pk: Any) -> str | None:
        """Of the whole row, whatever part of it is shown; None where there is no row."""
        rows = cls.shown([pk], None)
        if not rows:
            return None
        text = orjson.dumps(rows[0], default=str).decode()
        return f'"{salted_hmac("netops.etag", text).hexdigest()[:27]}"'


def _base(request: Request | None) -> str:
    """Scheme and host as the client wrote them, worked out once a request."""
    if request is None:
        return ""
    found: str | None = request.__dict__.get("netops_base")
    if found is None:
        found = request.build_absolute_uri("/").rstrip("/")
        request.__dict__["netops_base"] = found
    return found
