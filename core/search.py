"""Text search of lists and pages: the rows that a look at each would find, by an index where a model has one.

LIKE is not leakproof, so under row-level security no index serves it. A model with a `haystack` is therefore searched
by the definer netops_search (netops/definers.sql), which takes the team from the transaction and gives ids only.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    F,
    Func,
    GeneratedField,
    GenericIPAddressField,
    Index,
    Lookup,
    Model,
    Q,
    QuerySet,
    TextField,
    Value,
)
from django.db.models.functions import Concat, Upper
from django.db.models.sql.compiler import SQLCompiler

MOST = 5000
"""Where more rows match than this, looking at each row in the list's own order is the shorter way."""


def haystack_of(*names: str) -> GeneratedField:
    """The column that `netops_search` looks through: these fields in capitals, one a line."""
    lines = [piece for name in names for piece in (Value("\n"), F(name))][1:]
    text = Concat(*lines, output_field=TextField()) if len(lines) > 1 else lines[0]
    return GeneratedField(expression=Upper(text), output_field=TextField(), db_persist=True)


def address_index(field: str, name: str) -> Index:
    """The addresses of a team by how they begin, which is what is typed and what `netops_search` looks for."""
    host = Func(F(field), function="HOST", output_field=TextField())
    return Index(F("team"), OpClass(host, name="text_pattern_ops"), name=name)


def haystack_index(name: str) -> GinIndex:
    """Trigrams of the haystack, by team. Signs become letters: trigrams stop at signs, names are full of them."""
    letters = Func(F("haystack"), Value(" -./:_"), Value("UVWXYZ"), function="TRANSLATE", output_field=TextField())
    return GinIndex(F("team"), OpClass(letters, name="gin_trgm_ops"), name=name)


def matching(queryset: QuerySet[Any], lookups: Sequence[str], text: str) -> QuerySet[Any]:
    """The rows in which one of `lookups` contains `text`, whatever its case; an address has to begin with it, as in
    NetBox. One query more for each indexed model."""
    by_path = defaultdict(list)
    for lookup in lookups:
        path, _, name = lookup.rpartition("__")
        by_path[path].append(name)
    match = Q()
    for path, names in by_path.items():
        model = _model_at(queryset.model, path)
        plain = Q(*[_plain(model, path, name, text) for name in names], _connector=Q.OR)
        searched: tuple[str, ...] = getattr(model, "searched", ())
        ids = _searched(queryset.db, model, text) if set(names) <= set(searched) and "\n" not in text else None
        if ids is not None:
            match |= Q(AnyOf(F(path or "pk"), ids)) & (plain if set(names) < set(searched) else Q())
        else:
            match |= plain
    return queryset.filter(match)


class AnyOf(Lookup):  # type: ignore[type-arg]
    """`= ANY(array)`: thousands of ids are one value, where `__in` makes a placeholder of each."""

    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        sql, values = self.process_lhs(compiler, connection)
        return f"{sql} = ANY(%s)", (*values, self.rhs)


def _model_at(model: type[Model], path: str) -> type[Model]:
    for name in path.split("__") if path else ():
        related = model._meta.get_field(name).related_model
        assert isinstance(related, type)
        model = related
    return model


def _plain(model: type[Model], path: str, name: str, text: str) -> tuple[str, str]:
    address = isinstance(model._meta.get_field(name), GenericIPAddressField)
    return f"{path}__{name}".lstrip("_") + ("__istartswith" if address else "__icontains"), text


def _searched(using: str, model: type[Model], text: str) -> list[int] | None:
    """The ids of the rows; None where there are too many."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT netops_search(%s, %s, %s)", [model._meta.model_name, text, MOST])
        ids: list[int] | None = cursor.fetchone()[0]
    return ids
