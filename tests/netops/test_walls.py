"""The wall in the catalogue: what PostgreSQL holds for every team table, whoever made the model."""

from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, ProgrammingError, connection, models, transaction

from core.scope import team_scope
from netops.walls import POLICY, team_models
from tenancy.audit import AuditEvent
from tenancy.models import Team, TeamManager, TeamModel
from tests.teams import Rows

# Every model without a team, by label or by app, with why it has none.
NO_TEAM = {
    "tenancy.User": "a person may be in several teams; pages and API show only the members of one",
    "tenancy.User_groups": "Django's permissions, which netops does not use: roles are memberships",
    "tenancy.User_user_permissions": "Django's permissions, which netops does not use: roles are memberships",
    "tenancy.SshKey": "a person's key at the SSH door; what it opens is asked of the memberships",
    "tenancy.SshPassword": "a person's one-time password at the SSH door",
    "tenancy.Team": "the team itself; who may know of which one is said by netops_user_teams and netops_token",
    "auth": "Django's permissions, which netops does not use: roles are memberships",
    "contenttypes": "names of models, the same for every team",
    "sessions": "a browser's session belongs to a person; it is found only by its random key",
    "pghistory": "the library's shared context, of which `app` may not even read a row; events carry their own",
    "admin": "the log of Django's admin, which stays empty: the audit trail tells what is done there",
    "account": "a person's e-mail addresses at sign-in",
    "mfa": "a person's second factor",
    "usersessions": "a person's browsers, listed to that person alone",
    "socialaccount": "a person's account at the installation's OpenID provider",
}
# What is one of its kind in the whole installation, with why a team may learn that.
ONCE = {
    "agent_key_once": "who enrols a key has proved to hold it, or could not have guessed it",
    "agent_tunnel_port": "nobody chooses a port: the server gives the next free one",
}
RIGHTS = {"SELECT", "INSERT", "UPDATE", "DELETE"}
TABLES = {model._meta.db_table: model for model in team_models()}
KEPT = [model for model in team_models() if not issubclass(model, AuditEvent)]
TEAM_KEYS = [
    (model, field)
    for model in KEPT
    for field in model._meta.concrete_fields
    if isinstance(field.related_model, type) and issubclass(field.related_model, TeamModel)
]


def query(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def execute(sql: str, *parameters: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        count: int = cursor.rowcount
        return count


@pytest.fixture
def red(team: Team) -> Rows:
    return Rows(team, "zebra").all()


@pytest.fixture
def blue(other_team: Team) -> Rows:
    return Rows(other_team, "quagga").all()


def test_every_model_has_a_team_or_a_reason() -> None:
    models_ = apps.get_models(include_auto_created=True)
    strangers = {model._meta.label for model in models_ if not issubclass(model, TeamModel)}
    unexplained = {label for label in strangers if label not in NO_TEAM and label.partition(".")[0] not in NO_TEAM}
    assert not unexplained, f"make {sorted(unexplained)} a TeamModel, or say in NO_TEAM why it has no team"
    assert not {label for label in NO_TEAM if "." in label} - strangers


@pytest.mark.parametrize("model", team_models(), ids=lambda model: model.__name__)
def test_every_manager_is_a_team_manager(model: type[TeamModel]) -> None:
    managers = [*model._meta.managers, model._default_manager, model._base_manager]
    assert all(isinstance(manager, TeamManager) for manager in managers)


def test_every_table_with_a_team_is_a_team_model(db: None) -> None:
    found = query(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'team_id'"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND NOT c.relispartition"
    )
    assert {row[0] for row in found} == set(TABLES)


def test_each_has_the_one_policy_for_every_command_and_role(db: None) -> None:
    held = query(
        "SELECT c.relname, c.relrowsecurity, p.polcmd, p.polpermissive, p.polroles::text,"
        " pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid)"
        " FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relname = ANY(%s)",
        list(TABLES),
    )
    assert len(held) == len(TABLES)
    written = {row[5:] for row in held}
    assert {row[1:5] for row in held} == {(True, "*", True, "{0}")}
    assert len(written) == 1
    using, check = written.pop()
    assert using == check
    plain = using.replace("::text", "").replace("(", "").replace(")", "")
    assert plain == POLICY.replace("(", "").replace(")", "")


def test_every_unique_index_starts_with_the_team(db: None) -> None:
    """One across teams would tell a team, by its refusal, what another has."""
    found = query(
        "SELECT c.relname, i.relname, x.indisprimary, a.attname FROM pg_index x"
        " JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid"
        " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]"
        " WHERE (x.indisunique OR x.indisexclusion) AND c.relname = ANY(%s)",
        list(TABLES),
    )
    assert len(found) > len(TABLES)
    assert [row for row in found if not row[2] and row[3] != "team_id" and row[1] not in ONCE] == []
    # A primary key is a number that the database gives, or starts with the team.
    assert {row[3] for row in found if row[2]} <= {"id", "pgh_id", "team_id"}


def test_every_foreign_key_among_teams_goes_by_the_team_too(db: None) -> None:
    found = query(
        "SELECT c.relname, f.relname, array(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY n (num, place)"
        " JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.num ORDER BY place)::text[]"
        " FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid"
        " WHERE k.contype = 'f' AND NOT c.relispartition AND (c.relname = ANY(%s) OR f.relname = ANY(%s))",
        list(TABLES),
        list(TABLES),
    )
    inner = {(table, *columns) for table, target, columns in found if target in TABLES}
    assert inner == {(model._meta.db_table, "team_id", field.column) for model, field in TEAM_KEYS}
    outer = {(target, *columns) for table, target, columns in found if target not in TABLES}
    assert {target for target, *_ in outer} == {"tenancy_team", "tenancy_user"}
    assert all(len(columns) == 1 for _, *columns in outer)


def test_app_has_the_rights_it_needs_and_no_more(red: Rows) -> None:
    wanted: dict[str, set[str]] = {"django_migrations": {"SELECT"}}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.app_label != "pghistory":
            wanted[model._meta.db_table] = {"SELECT", "INSERT"} if issubclass(model, AuditEvent) else RIGHTS
    held: dict[str, set[str]] = {}
    for table, right in query(
        "SELECT c.relname, g.privilege_type FROM pg_class c, aclexplode(c.relacl) g"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        " AND (g.grantee = 0 OR g.grantee = (SELECT oid FROM pg_roles WHERE rolname = current_user))"
    ):
        held.setdefault(table, set()).add(right)
    assert held == wanted
    assert query("SELECT count(*) FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16383") == [(0,)]
    partitions = [row[0] for row in query("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")]
    assert partitions
    assert not set(partitions) & set(held)


def test_app_is_nobody_else_and_makes_nothing(db: None) -> None:
    assert query(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles"
        " WHERE rolname = current_user"
    ) == [(False,) * 5]
    assert (
        query("SELECT rolname FROM pg_roles WHERE rolname <> current_user AND pg_has_role(current_user, oid, 'MEMBER')")
        == []
    )
    assert query("SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = 'app')") == [
        (0,)
    ]
    assert query("SELECT has_schema_privilege('public', 'CREATE')") == [(False,)]


@pytest.mark.parametrize(
    "attempt",
    [
        "SET ROLE owner", "SET SESSION AUTHORIZATION owner", "ALTER TABLE inventory_device DISABLE ROW LEVEL SECURITY",
        "DROP POLICY team ON inventory_device", "TRUNCATE inventory_device", "CREATE TABLE public.mine (id int)",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT * FROM pghistory_context",
        "COPY inventory_device FROM PROGRAM 'true'", "COPY inventory_device TO '/tmp/x'", "ALTER ROLE app BYPASSRLS",
        "UPDATE inventory_siteauditevent SET name = ''", "DELETE FROM inventory_siteauditevent",
        "SELECT pg_read_file('pg_hba.conf')", "CREATE EXTENSION dblink",
        "CREATE TRIGGER mine BEFORE INSERT ON inventory_device EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
)  # fmt: skip
def test_app_cannot_take_the_wall_down(attempt: str, team: Team) -> None:
    refused = r"must be owner|permission denied|cannot set|superuser|Only roles with|must have"
    with pytest.raises(ProgrammingError, match=refused), team_scope(team.pk):
        execute(attempt)


def test_with_row_security_off_a_query_is_refused(team: Team) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), team_scope(team.pk):
        query("SET LOCAL row_security = off; SELECT count(*) FROM inventory_device")


def test_nothing_of_owner_looks_past_the_policies(db: None) -> None:
    """Views and functions with the owner's rights would: there are none but the listed definers (test_definers.py)."""
    assert query("SELECT relname FROM pg_class WHERE relkind IN ('v', 'm', 'f') AND relnamespace = 2200") == []
    functions = query("SELECT proname, prosecdef FROM pg_proc WHERE pronamespace = 2200")
    known = ("pgtrigger_", "_pgtrigger_", "_pgh_")
    plain = [name for name, definer in functions if not definer and not name.startswith(known)]
    trigram = {row[0] for row in query(
        "SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'"
        " WHERE p.pronamespace = 2200"
    )}  # fmt: skip
    assert set(plain) <= trigram
    assert query("SELECT count(*) FROM pg_rules WHERE schemaname = 'public'") == [(0,)]


def test_a_raw_query_sees_the_team_in_scope_and_nothing_without(red: Rows, blue: Rows) -> None:
    for table in TABLES:
        assert query(f'SELECT count(*) FROM "{table}"') == [(0,)], table
    for rows in (red, blue):
        with team_scope(rows.team.pk):
            for table in TABLES:
                assert query(f'SELECT DISTINCT team_id FROM "{table}"') == [(rows.team.pk,)], table


def test_statistics_tell_nothing(red: Rows) -> None:
    assert query("SELECT count(*) FROM pg_stats WHERE tablename = ANY(%s)", list(TABLES)) == [(0,)]
    assert query("SELECT count(*) FROM pg_stats_ext WHERE tablename = ANY(%s)", list(TABLES)) == [(0,)]


def _columns(model: type[TeamModel]) -> str:
    fields = [field for field in model._meta.concrete_fields if field.column and not field.generated]
    return ", ".join(f'"{field.column}"' for field in fields if field.column not in ("id", "pgh_id", "team_id"))


def test_a_foreign_row_cannot_be_written(red: Rows, blue: Rows) -> None:
    """Inserted under, handed over to, changed or deleted in another team: for every table."""
    for table, model in TABLES.items():
        columns = _columns(model)
        with team_scope(red.team.pk):
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                execute(f'INSERT INTO "{table}" (team_id, {columns}) SELECT %s, {columns} FROM "{table}"', blue.team.pk)
            if issubclass(model, AuditEvent):
                continue
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                execute(f'UPDATE "{table}" SET team_id = %s', blue.team.pk)
            assert execute(f'UPDATE "{table}" SET team_id = team_id WHERE team_id = %s', blue.team.pk) == 0
            assert execute(f'DELETE FROM "{table}" WHERE team_id = %s', blue.team.pk) == 0


def test_a_row_cannot_point_into_another_team(red: Rows, blue: Rows) -> None:
    assert len(TEAM_KEYS) > 25
    for model, field in TEAM_KEYS:
        with team_scope(red.team.pk):
            sql = f'UPDATE "{model._meta.db_table}" SET "{field.column}" = %s; SET CONSTRAINTS ALL IMMEDIATE'
            target: Any = field.related_model
            with pytest.raises(IntegrityError, match="_team_fk"), transaction.atomic():
                execute(sql, blue[target].pk)
            execute(sql, red[target].pk)


def test_history_points_nowhere() -> None:
    """Events may speak of rows that are gone, so they have no foreign keys; nobody can follow one either."""
    for model in team_models():
        if issubclass(model, AuditEvent):
            keys: list[Any] = [each for each in model._meta.concrete_fields if isinstance(each, models.ForeignKey)]
            assert [field.name for field in keys if field.db_constraint] == []
