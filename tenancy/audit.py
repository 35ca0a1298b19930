"""Which rows leave a trail: `@tracked` gives a model an event table, written by triggers (django-pghistory).

A trigger writes whatever door a change comes through, bulk operations and raw SQL included. Who did it is a JSON column
of each event, taken from the transaction's setting that `core.scope` keeps: the library's shared context table would
show one team another's users. Event tables are team tables; `app` may add to them and read them, nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pghistory
import pgtrigger
from django.db import models
from pghistory.models import Event

from tenancy.base import TeamManager, TeamModel

Tracked = TypeVar("Tracked", bound=type[models.Model])


class AuditEvent(Event, TeamModel):
    """One change of a tracked row: the tracked fields as they were after it (of a delete: before it)."""

    pgh_id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey(
        "tenancy.Team",
        on_delete=models.DO_NOTHING,
        editable=False,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    objects = TeamManager()

    class Meta(TeamModel.Meta):
        abstract = True


def tracked(
    *, fields: Sequence[str] | None = None, exclude: Sequence[str] = (), written_down: dict[str, Any] | None = None
) -> Callable[[Tracked], Tracked]:
    """Keep a trail of a TeamModel: of `fields`, or of all but `exclude`. Secrets and counters never belong in it.

    `written_down` is true of rows that people made: the coming and going of what the network told us has a history of
    its own, and of these rows only changes are kept.
    """

    def condition(row: str) -> pgtrigger.Q | None:
        return pgtrigger.Q(**{f"{row}__{name}": value for name, value in (written_down or {}).items()}) or None

    def track(model: Tracked) -> Tracked:
        names = ["id", *fields] if fields is not None else None
        decorate: Callable[[Any], Any] = pghistory.track(
            pghistory.InsertEvent(condition=condition("new")),
            pghistory.UpdateEvent(),
            pghistory.DeleteEvent(condition=condition("old")),
            fields=names,
            exclude=None if names else ["team", *exclude],
            base_model=AuditEvent,
            model_name=f"{model.__name__}AuditEvent",
            context_field=pghistory.ContextJSONField(),
            context_id_field=None,
            meta={
                "indexes": [
                    models.Index(fields=["team", "-pgh_id"], name=f"{model._meta.model_name}event_new"[:30]),
                    models.Index(fields=["team", "pgh_obj", "-pgh_id"], name=f"{model._meta.model_name}event_obj"[:30]),
                ]
            },
        )
        made: Tracked = decorate(model)
        return made

    return track
