"""Every write on who has a port for themselves alone, each one statement: of two that try, one has it."""

from __future__ import annotations

from typing import Any

from django.db import connection

from consoles.models import ConsoleLock
from core.scope import current_team_id

LEASE_S = 30


def lock_claim(*, port_id: int, session: str, user_id: int | None, who: str) -> int | None:
    """The new fence; None where somebody else has it."""
    free = " WHERE it.session = '' OR it.until <= clock_timestamp()"
    return _claim(free, port_id, session, user_id, who)


def lock_take(*, port_id: int, session: str, user_id: int | None, who: str, of: str = "") -> int | None:
    """From whoever has it; the new fence. With `of`, only from that session: None where it has it no more."""
    values = [of] if of else []
    return _claim(" WHERE it.session = %s" if of else "", port_id, session, user_id, who, *values)


def lock_renew(*, port_id: int, session: str, user_id: int | None) -> int | None:
    """The fence; None where this session of this user has it no more."""
    return _value(
        f"UPDATE {_table()} SET until = {_until()} WHERE team_id = %s AND port_id = %s AND session = %s"
        " AND user_id IS NOT DISTINCT FROM %s RETURNING fence",
        [current_team_id(), port_id, session, user_id],
    )


def lock_release(*, port_id: int, session: str) -> int | None:
    """The fence; None where this session had it no more."""
    return _value(
        f"UPDATE {_table()} SET session = '', user_id = NULL, who = '', until = NULL"
        " WHERE team_id = %s AND port_id = %s AND session = %s RETURNING fence",
        [current_team_id(), port_id, session],
    )


def _claim(where: str, port_id: int, session: str, user_id: int | None, who: str, *more: str) -> int | None:
    return _value(
        f"INSERT INTO {_table()} AS it (team_id, port_id, session, user_id, who, fence, until)"
        f" VALUES (%s, %s, %s, %s, %s, 1, {_until()}) ON CONFLICT (team_id, port_id) DO UPDATE SET"
        " session = excluded.session, user_id = excluded.user_id, who = excluded.who, fence = it.fence + 1,"
        f" until = excluded.until{where} RETURNING it.fence",
        [current_team_id(), port_id, session, user_id, who, *more],
    )


def _value(sql: str, values: list[Any]) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return int(row[0]) if row else None


def _table() -> str:
    return f'"{ConsoleLock._meta.db_table}"'


def _until() -> str:
    return f"clock_timestamp() + interval '{LEASE_S} s'"
