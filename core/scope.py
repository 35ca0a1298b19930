"""The team in scope: what every query of this thread or task is limited to (design, idea 5)."""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection, transaction

_team: ContextVar[int | None] = ContextVar("netops_team", default=None)
_unscoped: ContextVar[str] = ContextVar("netops_unscoped", default="")
_actor: ContextVar[dict[str, Any] | None] = ContextVar("netops_actor", default=None)


DOORS = ("page", "api", "admin", "task", "command", "agent", "ssh")


class NoTeamInScope(RuntimeError):
    """A query on team rows was made outside `team_scope`."""


def current_team_id() -> int:
    """The id of the team in scope; raises NoTeamInScope where there is none."""
    team = _team.get()
    if team is None:
        raise NoTeamInScope("No team is in scope: wrap this in `with team_scope(team):`.")
    return team


def is_unscoped() -> bool:
    return bool(_unscoped.get())


@contextmanager
def unscoped(reason: str) -> Iterator[None]:
    """Let the manager see every team: the only way past it. Its call sites are listed in tests/netops/test_walls.py.

    Row-level security still holds for `app`; only `owner` sees more.
    """
    assert reason
    token = _unscoped.set(reason)
    try:
        yield
    finally:
        _unscoped.reset(token)


@contextmanager
def acting(**actor: Any) -> Iterator[None]:
    """Who does what follows, for the audit trail (JSON values; never a secret).

    `door` is one of DOORS; `name` who or what came through it; `user` and `token` are ids, with `token_name`;
    `request` the id that the answer carried as X-Request-ID.

    It is written into each event by the triggers (tenancy/audit.py). Goes around `team_scope`, which passes it on.
    """
    token = _actor.set({name: value for name, value in actor.items() if value is not None})
    try:
        yield
    finally:
        _actor.reset(token)


@contextmanager
def at_the_command_line() -> Iterator[None]:
    """What a management command changes was done by the user of the operating system who called it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a number that has no name
        name = str(os.getuid())
    with acting(door="command", name=name):
        yield


@contextmanager
def team_scope(team_id: int) -> Iterator[None]:
    """One transaction in which the manager and PostgreSQL's row-level security both see only this team.

    The setting is LOCAL to the transaction, because pooled connections keep session settings. Nested scopes
    give the outer team back on leaving.
    """
    before = _team.get()
    with transaction.atomic():
        _set_local(str(team_id), json.dumps(_actor.get()) if _actor.get() else "")
        token = _team.set(team_id)
        try:
            yield
        finally:
            _team.reset(token)
        # A transaction marked for rollback (a 4xx answer) takes its setting with it and runs no more queries.
        if not transaction.get_rollback():
            _set_local("" if before is None else str(before))


def _set_local(team: str, actor: str | None = None) -> None:
    sql, values = "SELECT set_config('netops.team', %s, true)", [team]
    if actor is not None:
        sql, values = f"{sql}, set_config('pghistory.context_metadata', %s, true)", [team, actor]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
