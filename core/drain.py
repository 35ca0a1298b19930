"""The drain (design, idea 1): rows in an inbox table are the truth, a message is only a nudge.

`Drain` empties one key's inbox in order under that key's row lock, where all effects stay in the database: the
transaction dies with its worker, so a row is applied once or not yet. `LeasedDrain` is for effects that leave it
(desks): the key row carries a lease and a fence, and an outcome is recorded only under the fence it was claimed with.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from core.scope import team_scope

log = logging.getLogger("netops.drain")


@dataclass(frozen=True)
class Drain:
    """`inbox` rows point to their key row by `key_field` and are deleted once `apply(key, rows)` returned."""

    name: str
    inbox: type[models.Model]
    key_field: str
    apply: Callable[[Any, Sequence[Any]], None]
    batch: int = 500

    def run(self, team_id: int, key_id: int) -> int:
        """Drain one key until it is empty; returns how many rows were applied."""
        total = 0
        while True:
            done = self._step(team_id, key_id)
            total += done or 0
            if done:
                continue
            # A nudge that came while we held the lock was skipped: its rows are visible only now.
            with team_scope(team_id):
                if done is None or not self._rows(key_id).exists():
                    return total

    def _rows(self, key_id: int) -> models.QuerySet[Any]:
        return self.inbox._default_manager.filter(**{f"{self.key_field}_id": key_id}).order_by("id")

    def _step(self, team_id: int, key_id: int) -> int | None:
        """Apply one batch; None where another worker holds the key."""
        key_model = self.inbox._meta.get_field(self.key_field).related_model
        assert isinstance(key_model, type) and issubclass(key_model, models.Model)  # noqa: PT018
        with team_scope(team_id):
            key = key_model._default_manager.select_for_update(skip_locked=True, no_key=True).filter(pk=key_id).first()
            if key is None:
                return None
            rows = list(self._rows(key_id)[: self.batch])
            if rows:
                self.apply(key, rows)
                self.inbox._default_manager.filter(pk__in=[row.pk for row in rows]).delete()
            return len(rows)


class LeasedKey(models.Model):
    """What a key row of a LeasedDrain carries."""

    lease_until = models.DateTimeField(null=True, editable=False)
    fence = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        abstract = True


@dataclass(frozen=True)
class LeasedDrain:
    """Operations of one key, in order, one at a time; their effect leaves the database.

    `due(key_id, now)` gives the next operation to perform or None. `perform(key, operation)` runs outside any
    transaction and must be safe to repeat (search before create). `record(key, operation, outcome)` runs in a
    transaction under the fence of the claim; after a lost fence it is not called.
    """

    name: str
    key_model: type[LeasedKey]
    due: Callable[[int, datetime], Any | None]
    perform: Callable[[Any, Any], Any]
    record: Callable[[Any, Any, Any], None]
    lease: timedelta = timedelta(seconds=60)

    def run(self, team_id: int, key_id: int) -> int:
        total = 0
        while claim := self._claim(team_id, key_id):
            key, operation = claim
            outcome = self.perform(key, operation)
            if not self._finish(team_id, key, operation, outcome):
                return total
            total += 1
        return total

    def _claim(self, team_id: int, key_id: int) -> tuple[Any, Any] | None:
        now = timezone.now()
        with team_scope(team_id):
            manager = self.key_model._default_manager
            key = manager.select_for_update(skip_locked=True, no_key=True).filter(pk=key_id).first()
            if key is None or (key.lease_until and key.lease_until > now):
                return None
            operation = self.due(key_id, now)
            if operation is None:
                return None
            key.lease_until, key.fence = now + self.lease, key.fence + 1
            key.save(update_fields=["lease_until", "fence"])
            return key, operation

    def _finish(self, team_id: int, key: Any, operation: Any, outcome: Any) -> bool:
        with team_scope(team_id):
            held = self.key_model._default_manager.filter(pk=key.pk, fence=key.fence)
            if not held.update(lease_until=None, fence=F("fence")):
                log.warning(
                    "%s: the lease of key %s was lost; its outcome is left to the new holder",
                    self.name,
                    key.pk,
                )
                return False
            self.record(key, operation, outcome)
            return True


class Runnable(Protocol):
    """Work that waits per key: `netops_due_keys()` says for which keys, `run` does it and is safe to repeat."""

    @property
    def name(self) -> str: ...

    def run(self, team_id: int, key_id: int) -> int: ...


_registry: dict[str, Runnable] = {}


def register(drain: Runnable) -> None:
    """Called in AppConfig.ready of the room that owns the rows."""
    _registry[drain.name] = drain


def get(name: str) -> Runnable:
    return _registry[name]


def nudge(name: str, team_id: int, key_id: int) -> None:
    """Ask a worker to drain this key once the transaction has committed; a lost nudge is made good by the sweep."""

    def send() -> None:
        from kombu.exceptions import OperationalError

        from core.tasks import drain

        try:
            drain.apply_async((name, team_id, key_id), retry=False)
        except (OperationalError, OSError) as error:
            log.warning("the nudge for %s was not sent (%s); the sweep will", name, type(error).__name__)

    transaction.on_commit(send)
