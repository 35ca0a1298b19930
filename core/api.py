"""What every REST endpoint shares: lists from values(), errors that name the field."""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import models, transaction
from rest_framework import exceptions, views
from rest_framework.request import Request
from rest_framework.response import Response

MAX_LIMIT = 1000
DEFAULT_LIMIT = 50


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, with the transaction of the request rolled back and Django's validation errors as 400."""
    if isinstance(error, DjangoValidationError):
        error = exceptions.ValidationError(error.message_dict if hasattr(error, "error_dict") else error.messages)
    response = views.exception_handler(error, context)
    if response is not None and transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    return response


class ListView(views.APIView):
    """A list answered as {"count", "next", "previous", "results"}, straight from the database to orjson.

    `fields` maps the answer's names to lookups, `search` names the lookups of `?q=`, `filters` the query parameters
    that narrow the list, `ordering` the names allowed in `?ordering=`; the first is the default.
    """

    fields: ClassVar[Mapping[str, str]]
    search: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[Mapping[str, str]] = {}
    ordering: ClassVar[tuple[str, ...]] = ("id",)

    def get_queryset(self) -> models.QuerySet[Any]:
        raise NotImplementedError

    def shape(self, row: dict[str, Any]) -> dict[str, Any]:
        """Change one row on its way out."""
        return row

    def get(self, request: Request) -> Response:
        queryset = self._filtered(request)
        limit, offset = _number(request, "limit", DEFAULT_LIMIT), _number(request, "offset", 0)
        limit = min(limit or MAX_LIMIT, MAX_LIMIT)
        count = queryset.count()
        page = queryset.values_list(*self.fields.values())[offset : offset + limit]
        results = [self.shape(dict(zip(self.fields, row, strict=True))) for row in page]
        following = _link(request, limit, offset + limit) if offset + limit < count else None
        previous = _link(request, limit, max(0, offset - limit)) if offset else None
        return Response({"count": count, "next": following, "previous": previous, "results": results})

    def _filtered(self, request: Request) -> models.QuerySet[Any]:
        queryset = self.get_queryset()
        known = {"q", "limit", "offset", "ordering", "format", *self.filters}
        if unknown := sorted(set(request.query_params) - known):
            raise exceptions.ValidationError({name: [f"Unknown filter; use {sorted(known)}."] for name in unknown})
        if nul := [name for name, value in request.query_params.items() if "\x00" in value]:
            raise exceptions.ValidationError({name: ["A NUL character is in no value."] for name in nul})
        for name, lookup in self.filters.items():
            if value := request.query_params.get(name):
                try:
                    queryset = queryset.filter(**{lookup: value})
                except (ValueError, DjangoValidationError):
                    raise exceptions.ValidationError({name: [f"{value!r} is not a value of {name}."]}) from None
        if text := request.query_params.get("q", "").strip():
            match = models.Q()
            for lookup in self.search:
                match |= models.Q(**{f"{lookup}__icontains": text})
            queryset = queryset.filter(match)
        order = request.query_params.get("ordering") or self.ordering[0]
        if order.removeprefix("-") not in self.ordering:
            raise exceptions.ValidationError(
                {"ordering": [f"Use one of {', '.join(self.ordering)}, with - to reverse."]}
            )
        prefix = "-" if order.startswith("-") else ""
        return queryset.order_by(prefix + self.fields.get(order.removeprefix("-"), order.removeprefix("-")), "pk")


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise exceptions.ValidationError({name: [f"{text!r} is not a whole number from 0 up."]})
    return int(text)


def _link(request: Request, limit: int, offset: int) -> str:
    query = {**request.query_params.dict(), "limit": limit, "offset": offset}
    return request.build_absolute_uri(f"{request.path}?{urlencode(query)}")
