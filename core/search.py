"""Text search of lists and pages."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet


def matching(queryset: QuerySet[Any], lookups: Sequence[str], text: str) -> QuerySet[Any]:
    """The rows in which one of `lookups` contains `text`, whatever its case."""
    match = Q()
    for lookup in lookups:
        match |= Q(**{f"{lookup}__icontains": text})
    return queryset.filter(match)
