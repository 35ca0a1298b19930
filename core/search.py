"""Text search of lists and pages: the rows that a plain `icontains` would find, by an index where a model has one.

LIKE is not leakproof, so under row-level security no index serves it. A model with a `haystack` is therefore searched
by the definer netops_search (netops/definers.sql), which takes the team from the transaction and gives ids only.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import connections
from django.db.models import F, Func, GeneratedField, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Concat, Upper

MOST = 1000
"""Where more rows match than this, looking at each row in the list's own order is the shorter way."""


def haystack_of(*names: str, hosts: Sequence[str] = ()) -> GeneratedField:
    """The column that `netops_search` looks through: these fields and addresses in capitals, one a line."""
    parts: list[Combinable] = [F(name) for name in names]
    parts += [Func(F(name), function="HOST", output_field=TextField()) for name in hosts]
    lines = [piece for part in parts for piece in (Value("\n"), part)][1:]
    text = Concat(*lines, output_field=TextField()) if len(lines) > 1 else parts[0]
    return GeneratedField(expression=Upper(text), output_field=TextField(), db_persist=True)


def haystack_index(name: str) -> GinIndex:
    """Trigrams of the haystack, by team. Signs become letters: trigrams stop at signs, addresses are full of them."""
    letters = Func(F("haystack"), Value(" -./:_"), Value("UVWXYZ"), function="TRANSLATE", output_field=TextField())
    return GinIndex(F("team"), OpClass(letters, name="gin_trgm_ops"), name=name)


def matching(queryset: QuerySet[Any], lookups: Sequence[str], text: str) -> QuerySet[Any]:
    """The rows in which one of `lookups` contains `text`, whatever its case. One query more for each indexed model."""
    by_path = defaultdict(list)
    for lookup in lookups:
        path, _, name = lookup.rpartition("__")
        by_path[path].append(name)
    match = Q()
    for path, names in by_path.items():
        prefix = f"{path}__" if path else ""
        plain = Q(*[(f"{prefix}{name}__icontains", text) for name in names], _connector=Q.OR)
        model = _model_at(queryset.model, path)
        searched: tuple[str, ...] = getattr(model, "searched", ())
        if set(names) <= set(searched) and "\n" not in text:
            rest = plain if set(names) < set(searched) else Q()
            match |= _indexed(queryset.db, model, text, path) & rest
        else:
            match |= plain
    return queryset.filter(match)


def _model_at(model: type[Model], path: str) -> type[Model]:
    for name in path.split("__") if path else ():
        related = model._meta.get_field(name).related_model
        assert isinstance(related, type)
        model = related
    return model


def _indexed(using: str, model: type[Model], text: str, path: str) -> Q:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT id FROM netops_search(%s, %s, %s)", [model._meta.model_name, text, MOST + 1])
        ids = [row[0] for row in cursor.fetchall()]
    if len(ids) <= MOST:
        return Q(**{f"{path or 'pk'}__in": ids})
    return Q(**{f"{path}__haystack__contains" if path else "haystack__contains": Upper(Value(text))})
