"""Re-encrypts every secret at rest under the newest key (`manage.py rotate_secrets`)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import InvalidToken
from django.apps import apps
from django.db import connections, models, transaction

from core.secrets import SecretField, cipher, under_newest_key

BATCH = 500


@dataclass
class Outcome:
    """`locked` names the rows that none of the keys opens."""

    seen: int = 0
    changed: int = 0
    locked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """A column that holds secrets: `again` gives its value under the newest key, or the same where it is already."""

    table: str
    column: str
    again: Callable[[str], str]
    cast: str = "text"


def places() -> Iterator[Place]:
    """Every SecretField of every model, and the second factors of django-allauth."""
    for model in apps.get_models():
        for each in model._meta.concrete_fields:
            if isinstance(each, SecretField):
                yield Place(model._meta.db_table, each.column, _again)
    if apps.is_installed("allauth.mfa"):
        second: type[models.Model] = apps.get_model("mfa", "Authenticator")
        yield Place(second._meta.db_table, "data", _again_in_json, "jsonb")


def rotate(tell: Callable[[str], None]) -> Outcome:
    """Everything, in batches that each commit: it may be killed and repeated at any time.

    Each table is gone through a second time under a lock, for what was written under an old key meanwhile.
    """
    outcome = Outcome()
    for place in places():
        before = outcome.changed
        _through(place, outcome, lambda: tell(f"{place.table}: {outcome.seen} seen, {outcome.changed} changed"))  # noqa: B023
        with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
            cursor.execute(f'LOCK TABLE "{place.table}" IN SHARE ROW EXCLUSIVE MODE')
            late = Outcome()
            _through(place, late, lambda: None)
            outcome.changed += late.changed
        tell(f"{place.table}.{place.column}: {outcome.changed - before} changed")
    return outcome


def _through(place: Place, outcome: Outcome, tell: Callable[[], None]) -> None:
    after = 0
    while rows := _batch(place, after):
        with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
            for pk, stored in rows:
                outcome.seen += 1
                try:
                    fresh = place.again(stored)
                except InvalidToken:
                    outcome.locked.append(f"{place.table} {pk}")
                    continue
                if fresh != stored:
                    # Whoever changed it since we read it has encrypted it under the newest key.
                    cursor.execute(
                        f'UPDATE "{place.table}" SET "{place.column}" = %s::{place.cast}'
                        f' WHERE id = %s AND "{place.column}" = %s::{place.cast}',
                        [fresh, pk, stored],
                    )
                    outcome.changed += cursor.rowcount
        after = rows[-1][0]
        tell()


def _batch(place: Place, after: int) -> list[tuple[int, str]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            f'SELECT id, "{place.column}"::text FROM "{place.table}"'
            f" WHERE id > %s AND \"{place.column}\"::text <> '' ORDER BY id LIMIT %s",
            [after, BATCH],
        )
        return list(cursor.fetchall())


def _again(token: str) -> str:
    return token if under_newest_key(token) else cipher().rotate(token).decode()


def _again_in_json(text: str) -> str:
    """The same JSON with each string that is a token of ours under the newest key."""
    stored = json.loads(text)
    fresh = _walk(stored)
    return text if fresh == stored else json.dumps(fresh)


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _walk(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_walk(each) for each in value]
    # "gAAAAA" is how each Fernet token begins: its version and the high bytes of its time.
    return _again(value) if isinstance(value, str) and value.startswith("gAAAAA") else value
