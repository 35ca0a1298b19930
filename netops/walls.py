"""The wall in PostgreSQL, raised after every migrate from the models themselves, so that no table can be forgotten.

For each TeamModel: grants for `app`, row-level security with one policy, UNIQUE (team_id, id), and for each foreign
key to another TeamModel a second one on (team_id, …), which makes a reference into another team impossible. The
triggers that write the audit trail come last, by the same reasoning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pgtrigger
from django.apps import apps
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

from tenancy.audit import AuditEvent
from tenancy.models import TeamModel

POLICY = "team_id = NULLIF(current_setting('netops.team', true), '')::bigint"
DEFINERS = Path(__file__).with_name("definers.sql")


def team_models() -> list[type[TeamModel]]:
    return [model for model in apps.get_models() if issubclass(model, TeamModel)]


def raise_walls(using: str, **_: Any) -> None:
    """Handler of post_migrate; safe to repeat."""
    if using != "owner":
        return
    app_role = connections["default"].settings_dict["USER"]
    with connections[using].cursor() as cursor:
        cursor.execute(f'GRANT USAGE ON SCHEMA public TO "{app_role}"')
        for model in apps.get_models(include_auto_created=True):
            if model._meta.app_label == "pghistory":  # a context table that all teams would share; nothing uses it
                continue
            # What was done stays written: history can be added to, not changed.
            rights = "SELECT, INSERT" if issubclass(model, AuditEvent) else "SELECT, INSERT, UPDATE, DELETE"
            cursor.execute(f'GRANT {rights} ON "{model._meta.db_table}" TO "{app_role}"')
        cursor.execute(f'GRANT SELECT ON django_migrations TO "{app_role}"')
        cursor.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{app_role}"')
        for model in team_models():
            _enclose(cursor, model._meta.db_table)
        # The audit trail may speak of rows that are gone.
        kept = [model for model in team_models() if not issubclass(model, AuditEvent)]
        for model in kept:
            if "id" in {field.column for field in model._meta.concrete_fields}:
                _constrain(
                    cursor,
                    model._meta.db_table,
                    f"{model._meta.db_table}_team_id_uniq",
                    "UNIQUE (team_id, id)",
                )
        for model in kept:
            for field in model._meta.concrete_fields:
                _pin_to_team(cursor, model, field)
        cursor.execute(DEFINERS.read_text().replace("{app}", f'"{app_role}"'))
    pgtrigger.install(database=using)


def _enclose(cursor: CursorWrapper, table: str) -> None:
    cursor.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
    cursor.execute("SELECT 1 FROM pg_policies WHERE tablename = %s AND policyname = 'team'", [table])
    if not cursor.fetchone():
        cursor.execute(f'CREATE POLICY team ON "{table}" USING ({POLICY}) WITH CHECK ({POLICY})')


def _pin_to_team(cursor: CursorWrapper, model: type[TeamModel], field: models.Field[Any, Any]) -> None:
    target = field.related_model
    if not isinstance(target, type) or not issubclass(target, TeamModel):
        return
    table = model._meta.db_table
    _constrain(
        cursor,
        table,
        f"{table}_{field.column}_team_fk"[:63],
        f'FOREIGN KEY (team_id, "{field.column}") REFERENCES "{target._meta.db_table}" (team_id, id)'
        " DEFERRABLE INITIALLY DEFERRED",
    )


def _constrain(cursor: CursorWrapper, table: str, name: str, definition: str) -> None:
    cursor.execute("SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = %s::regclass", [name, f'"{table}"'])
    if not cursor.fetchone():
        cursor.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {definition}')
