"""What every endpoint of the facade shares: NetBox's fields that we have nothing for, and filters that find nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from rest_framework import serializers
from rest_framework.request import Request

from core.api.fields import Ref
from core.api.filters import Filter
from core.api.resource import Resource
from core.api.rows import Row
from inventory.netbox import VERSION

registry: dict[type[models.Model], type[Resource]] = {}
"""Where references lead: to the facade, not to /api/."""


class Fixed(serializers.Field):  # type: ignore[type-arg]
    """The same in every row."""

    def __init__(self, value: Any) -> None:
        super().__init__(source="*", read_only=True)
        self.value = value

    def lookups(self) -> list[str]:
        return []

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        return self.value


class Made(serializers.Field):  # type: ignore[type-arg]
    """Made of some columns by `make(*values)`, or of their place by `make(request, *values)` with `addressed`."""

    def __init__(self, make: Callable[..., Any], *lookups: str, addressed: bool = False) -> None:
        super().__init__(source="*", read_only=True)
        self._make, self._lookups, self._addressed = make, list(lookups), addressed

    def lookups(self) -> list[str]:
        return self._lookups

    def shape(self, values: Sequence[Any], request: Request | None) -> Any:
        return self._make(request, *values) if self._addressed else self._make(*values)


class FacadeRow(Row):
    """A Row whose references stay in the facade; Meta.fixed are NetBox's fields that are always the same here."""

    registry = registry
    tenant = Ref(source="team", read_only=True)

    class Meta:
        fixed: dict[str, Any] = {}

    def get_fields(self) -> dict[str, Any]:
        found: dict[str, Any] = super().get_fields()
        return found | {name: Fixed(value) for name, value in {**COMMON, **self.Meta.fixed}.items()}


COMMON: dict[str, Any] = {"description": "", "comments": "", "tags": [], "custom_fields": {}}
ACTIVE = {"value": "active", "label": "Active"}


class Nothing(Filter):
    """By something of NetBox's that no row here has."""

    def q(self, values: list[str]) -> Q:
        return Q() if self.negative else Q(pk__in=[])


class Ignored(Filter):
    """Asks to leave something out that is small here."""

    def q(self, values: list[str]) -> Q:
        return Q()


class Always(Filter):
    """By something that every row has: `lookup` is its value."""

    def q(self, values: list[str]) -> Q:
        return Q() if (self.lookup in values) != self.negative else Q(pk__in=[])


def whole(text: str) -> int:
    """An id as a filter gives it."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError("Give a whole number.")
    return int(text)


def nothing(*names: str) -> dict[str, Filter]:
    """For each name: `name`, `name_id` and their opposites."""
    every = [each for name in names for each in (name, f"{name}_id")]
    return {f"{name}{how}": Nothing("", "string", how == "__n") for name in every for how in ("", "__n")}


def through(name: str, lookup: str) -> dict[str, Filter]:
    """By the slug of something related, or by its id."""
    return {
        name: Filter(f"{lookup}__slug__in", "string"),
        f"{name}__n": Filter(f"{lookup}__slug__in", "string", True),
        f"{name}_id": Filter(f"{lookup}__in", "integer", parse=whole),
    }


NOWHERE = nothing("region", "site_group", "location", "rack", "tag", "tenant_group", "vrf", "contact")


class Facade(Resource):
    """An endpoint of the facade: `app` is NetBox's word for its room. Whoever may view may ask; nobody may change."""

    app: ClassVar[str]
    prefix = "/netbox/api"
    registry = registry
    capability = "view"

    @classmethod
    def room(cls) -> str:
        return cls.app

    @classmethod
    def urls(cls) -> list[URLPattern]:
        return [path(str(each.pattern), versioned(each.callback), name=each.name or "") for each in super().urls()]


def versioned(view: Callable[..., Any]) -> Callable[..., Any]:
    """Clients read the version from a header of every answer."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = view(request, *args, **kwargs)
        response["API-Version"] = VERSION.rpartition(".")[0]
        return response

    return answer
