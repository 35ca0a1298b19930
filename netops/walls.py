"""The wall in PostgreSQL, raised after every migrate from the models themselves, so that no table can be forgotten.

For each TeamModel: grants for `app`, row-level security with one policy, UNIQUE (team_id, id), and for each foreign
key to another TeamModel a second one on (team_id, …), which makes a reference into another team impossible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

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
            cursor.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON "{model._meta.db_table}" TO "{app_role}"')
        cursor.execute(f'GRANT SELECT ON django_migrations TO "{app_role}"')
        cursor.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{app_role}"')
        for model in team_models():
            _enclose(cursor, model._meta.db_table)
        for model in team_models():
            if "id" in {field.column for field in model._meta.concrete_fields}:
                _constrain(
                    cursor,
                    model._meta.db_table,
                    f"{model._meta.db_table}_team_id_uniq",
                    "UNIQUE (team_id, id)",
                )
        for model in team_models():
            for field in model._meta.concrete_fields:
                _pin_to_team(cursor, model, field)
        cursor.execute(DEFINERS.read_text().replace("{app}", f'"{app_role}"'))


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
