"""Which rows leave a trail: `@tracked` gives a model an event table, written by triggers (django-pghistory).

A trigger writes whatever door a change comes through, bulk operations and raw SQL included. Who did it is a JSON column
of each event, taken from the transaction's setting that `core.scope` keeps: the library's shared context table would
show one team another's users. Event tables are team tables; `app` may add to them and read them, nothing else.

An event stands by itself: an update carries what the changed fields were before (`pgh_before`), so a change can be told
without looking for an earlier event, which rows that the network taught us do not have.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import pghistory
import pghistory.trigger
import pgtrigger
from django.db import models
from pghistory.models import Event

from tenancy.base import TeamManager, TeamModel

Tracked = TypeVar("Tracked", bound=type[models.Model])


class AuditEvent(Event, TeamModel):
    """One change of a tracked row: the tracked fields as they were after it (of a delete: before it)."""

    pgh_id = models.BigAutoField(primary_key=True)
    pgh_before = models.JSONField(null=True)
    """Of an update: the columns that changed, as they were."""
    team = models.ForeignKey(
        "tenancy.Team",
        on_delete=models.DO_NOTHING,
        editable=False,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )

    objects: ClassVar[Any] = TeamManager()

    class Meta(TeamModel.Meta):
        abstract = True


class _Trigger(pghistory.trigger.Event):
    """The library's trigger, with the true time (its NOW() is one for a whole transaction) and with what was before."""

    def get_func(self, model: Any) -> Any:
        own = {field.name for field in model._meta.fields}
        event: Any = self.event_model
        columns = sorted(field.column for field in event._meta.fields if field.name in own)
        values = {f'"{column}"': f'{self.row}."{column}"' for column in columns} | {
            '"pgh_context"': "NULLIF(current_setting('pghistory.context_metadata', true), '')::jsonb",
            '"pgh_created_at"': "clock_timestamp()",
            '"pgh_label"': f"'{self.label}'",
            '"pgh_obj_id"': f'{self.row}."{model._meta.pk.column}"',
        }
        if self.operation == pgtrigger.Update:
            names = ", ".join(f"'{column}'" for column in columns)
            values['"pgh_before"'] = (
                "(SELECT jsonb_object_agg(o.key, o.value) FROM jsonb_each(to_jsonb(OLD)) o"
                f" WHERE o.key IN ({names}) AND o.value IS DISTINCT FROM to_jsonb(NEW) -> o.key)"
            )
        into = f'"{event._meta.db_table}" ({", ".join(values)})'
        func: Callable[[str], Any] = pgtrigger.Func
        return func(f"INSERT INTO {into} VALUES ({', '.join(values.values())}); RETURN NULL;")


class _Tracker(pghistory.RowEvent):
    def add_event_trigger(self, event_model: Any) -> None:
        trigger: Callable[..., pgtrigger.Trigger] = _Trigger
        pgtrigger.register(
            trigger(
                event_model=event_model,
                label=self.label,
                name=self.trigger_name,
                row=self.row,
                operation=self.operation,
                condition=self.condition,
            )
        )(event_model.pgh_tracked_model)


class _Insert(_Tracker, pghistory.InsertEvent):
    pass


class _Update(_Tracker, pghistory.UpdateEvent):
    pass


class _Delete(_Tracker, pghistory.DeleteEvent):
    pass


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
        name = model._meta.model_name
        track_with: Callable[..., Any] = pghistory.track
        made: Tracked = track_with(
            _Insert(condition=condition("new")),
            _Update(),
            _Delete(condition=condition("old")),
            fields=names,
            exclude=None if names else ["team", *exclude],
            base_model=AuditEvent,
            model_name=f"{model.__name__}AuditEvent",
            obj_field=pghistory.ObjForeignKey(related_name="audit_events", db_index=False),
            context_field=pghistory.ContextJSONField(),
            context_id_field=None,
            meta={
                "indexes": [
                    models.Index(fields=["team", "pgh_created_at", "pgh_id"], name=f"{name}event_at"[:30]),
                    models.Index(fields=["team", "pgh_obj", "pgh_created_at", "pgh_id"], name=f"{name}event_obj"[:30]),
                ]
            },
        )(model)
        return made

    return track
