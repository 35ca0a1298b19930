"""How many rows a list has, and where its deep pages lie."""

import hashlib
from contextlib import suppress
from typing import Any

from django.core.cache import cache
from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from redis.exceptions import RedisError

from core.scope import NoTeamInScope, current_team_id

LARGE = 10_000
KEPT_S = 5
DEEP = 1000


def counted(queryset: QuerySet[Any]) -> int:
    """The number of its rows: exact up to 10,000, and above that exact as it was at most five seconds ago.

    Counting 500,000 rows takes 50 ms however good the index; counters kept by triggers would make writers wait for
    each other. So a large count is kept for a moment, by team and query.
    """
    try:
        sql, values = queryset.order_by().query.sql_with_params()
        key = f"count:{current_team_id()}:{hashlib.sha256(repr((sql, values)).encode()).hexdigest()}"
    except (EmptyResultSet, NoTeamInScope):
        return queryset.count()
    try:
        if (kept := cache.get(key)) is not None:
            return int(kept)
    except RedisError:
        return queryset.count()
    count = queryset.count()
    if count > LARGE:
        with suppress(RedisError):
            cache.set(key, count, KEPT_S)
    return count


def counted_to(queryset: QuerySet[Any], most: int) -> int:
    """The number of its rows, `most` + 1 where there are more: then it is known before all have been looked at."""
    return queryset.order_by()[: most + 1].count()


def page_of(ordered: QuerySet[Any], offset: int, limit: int) -> QuerySet[Any]:
    """`limit` rows from `offset`. A deep page is found by its ids first, which an index alone gives: the rows before
    it are not read, and nothing is joined to them."""
    if offset < DEEP:
        return ordered[offset : offset + limit]
    return ordered.filter(pk__in=ordered.values("pk")[offset : offset + limit])
