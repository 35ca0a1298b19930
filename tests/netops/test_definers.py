"""The functions that pass row-level security: exactly these, each pinned, each giving only what it says."""

import pytest
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from core.scope import team_scope
from inventory.models import Device, sorted_name
from tenancy.models import Seat, Team, User
from tenancy.services import token_create, token_digest

DEFINERS = {
    "netops_agent_by_key", "netops_due_keys", "netops_partition_drop", "netops_partition_ensure", "netops_token",
    "netops_totals", "netops_user_teams",
}  # fmt: skip


def _query(sql: str, *parameters: int | str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def test_there_are_no_others_and_all_are_pinned(db: None) -> None:
    rows = _query(
        "SELECT p.proname, r.rolname, p.proconfig, has_function_privilege('public', p.oid, 'execute')"
        " FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.prosecdef"
        " AND p.pronamespace = 'public'::regnamespace"
    )
    assert {row[0] for row in rows} == DEFINERS
    assert {row[1] for row in rows} == {"owner"}
    assert all(row[2] == ["search_path=public, pg_temp"] and row[3] is False for row in rows)


def test_app_owns_nothing_and_is_bound_by_the_policies(db: None) -> None:
    assert _query("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user") == [(False, False)]
    assert _query(
        "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = 'app')"
    ) == [(0,)]


def test_a_users_teams_are_his_alone(alice: User, charlie: User) -> None:
    assert [seat.slug for seat in Seat.of_user(alice.pk)] == ["red"]
    assert [seat.slug for seat in Seat.of_user(charlie.pk)] == ["blue"]
    assert Seat.of_user(0) == []


def test_a_token_needs_key_and_digest(team: Team) -> None:
    key, _, secret = token_create(team=team, role="operator").partition(".")
    assert getattr(Seat.of_token(key, token_digest(secret)), "role", None) == "operator"
    assert Seat.of_token(key, token_digest("other")) is None
    assert Seat.of_token(key, "") is None
    assert Seat.of_token("%", token_digest(secret)) is None


def test_totals_are_sums_over_all_teams_and_nothing_else(team: Team, other_team: Team) -> None:
    for each, names in ((team, ("secret-1", "secret-2")), (other_team, ("secret-3",))):
        with team_scope(each.pk):
            for name in names:
                Device.objects.create(**sorted_name(name), changed=timezone.now())
    expected = [("devices", "written_down", 3.0)]
    assert _query("SELECT * FROM netops_totals() WHERE family = 'devices'") == expected
    with team_scope(team.pk):
        assert _query("SELECT * FROM netops_totals() WHERE family = 'devices'") == expected
    words = {str(word) for family, label, _ in _query("SELECT * FROM netops_totals()") for word in (family, label)}
    assert words == {"teams", "", "devices", "written_down", "inbox_rows", "topology", "reports", "tickets"}
    assert _query("SELECT count(*) FROM inventory_device") == [(0,)]


def test_partitions_come_and_go_and_are_closed_to_app(team: Team) -> None:
    _query("SELECT netops_partition_ensure('2031-05-05')")
    _query("SELECT netops_partition_ensure('2031-05-05')")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        _query("SELECT * FROM probing_pathminute_20310505")
    assert _query("SELECT count(*) FROM probing_pathminute WHERE minute = '2031-05-05'") == [(0,)]
    dropped = _query("SELECT netops_partition_drop('2031-05-06')")[0][0]
    assert isinstance(dropped, int)
    assert dropped >= 1
    assert _query("SELECT to_regclass('probing_pathminute_20310505')") == [(None,)]


def test_the_scope_does_not_outlive_its_transaction(team: Team) -> None:
    with team_scope(team.pk):
        assert _query("SELECT current_setting('netops.team', true)") == [(str(team.pk),)]
    assert _query("SELECT current_setting('netops.team', true)")[0][0] in ("", None)
