"""The team in scope: what every query of this thread or task is limited to (design, idea 5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

_team: ContextVar[int | None] = ContextVar("netops_team", default=None)


class NoTeamInScope(RuntimeError):
    """A query on team rows was made outside `team_scope`."""


def current_team_id() -> int:
    """The id of the team in scope; raises NoTeamInScope where there is none."""
    team = _team.get()
    if team is None:
        raise NoTeamInScope("No team is in scope: wrap this in `with team_scope(team):`.")
    return team


@contextmanager
def team_scope(team_id: int) -> Iterator[None]:
    """One transaction in which the manager and PostgreSQL's row-level security both see only this team.

    The setting is LOCAL to the transaction, because pooled connections keep session settings. Nested scopes
    give the outer team back on leaving.
    """
    before = _team.get()
    with transaction.atomic():
        _set_local(str(team_id))
        token = _team.set(team_id)
        try:
            yield
        finally:
            _team.reset(token)
        # A transaction marked for rollback (a 4xx answer) takes its setting with it and runs no more queries.
        if not transaction.get_rollback():
            _set_local("" if before is None else str(before))


def _set_local(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('netops.team', %s, true)", [value])
