"""How many rows a list has."""

from typing import Any

from django.db.models import QuerySet


def counted(queryset: QuerySet[Any]) -> int:
    """The exact number of its rows."""
    return queryset.count()
