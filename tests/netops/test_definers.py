"""The functions that pass row-level security: exactly these, each pinned, each giving only what it says."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.utils import timezone

from agents.models import Agent, EnrolmentToken, LegacyToken, agent_of_key, free_tunnel_port
from core.scope import team_scope
from inventory.models import Device, sorted_name
from tenancy.models import ApiToken, Invitation, Seat, Team, User
from tenancy.services import invitation_create, token_create, token_digest
from tests.teams import Rows

# What each may give: of what it was asked for by name, ids and names of teams at most.
DEFINERS = {
    "netops_agent_by_key": "one enrolled agent's id and team, for its public key",
    "netops_console_search": "ids of lines of consoles of the team in scope that contain a text",
    "netops_due_keys": "ids of rows with work waiting",
    "netops_enrolment_token": "team and id of one enrolment token, for its digest",
    "netops_invitation": "team and id of one open invitation, for its digest",
    "netops_legacy_token": "team and id of one token of PiCon agents, for its digest",
    "netops_partition_drop": "how many partitions it dropped",
    "netops_partition_ensure": "nothing",
    "netops_search": "ids of rows of the team in scope that contain a text",
    "netops_token": "the team and role of one token, for key and digest",
    "netops_totals": "sums over all teams by state, for the operator's token alone",
    "netops_tunnel_port": "a port that is free in the whole installation",
    "netops_user_teams": "the teams of one user, for the user's id",
}
TEXTS = (
    None,
    "",
    "%",
    "_",
    "quagga%",
    "%quagga%",
    "' OR 1=1 --",
    "'; SELECT 1; --",
    "\\",
    "*",
    ".*",
    "x" * 10_000,
    "é\u202e",
)
NUMBERS = (None, 0, -1, 2**31, 2**63 - 1)
ARRAYS = (None, "{}", "{0,-1,9223372036854775807}")
DAYS = (None, "infinity", "-infinity", "0001-01-01", "9999-12-31", "2031-05-05")


def _query(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def test_there_are_no_others_and_all_are_pinned(db: None) -> None:
    rows = _query(
        "SELECT p.proname, r.rolname, p.proconfig, has_function_privilege('public', p.oid, 'execute')"
        " FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.prosecdef"
    )
    assert {row[0] for row in rows} == set(DEFINERS)
    assert {row[1] for row in rows} == {"owner"}
    assert all(row[2] == ["search_path=public, pg_temp"] and row[3] is False for row in rows)


def test_none_of_them_puts_its_arguments_into_sql_unquoted(db: None) -> None:
    """EXECUTE only of format(), whose %I and %L quote."""
    for name, source in _query("SELECT proname, prosrc FROM pg_proc WHERE prosecdef"):
        for part in source.split("EXECUTE")[1:]:
            assert part.lstrip().startswith("format("), name
            assert "%s" not in part, name


def _calls() -> Iterator[tuple[str, list[Any]]]:
    """Every definer with every odd value in every place, the others being odd too."""
    found = _query(
        "SELECT proname, proargtypes::regtype[]::text[] FROM pg_proc WHERE prosecdef AND proname <> ALL(%s)",
        ["netops_partition_drop"],
    )
    for name, types in found:
        times = {"date": DAYS, "timestamp with time zone": DAYS}
        known = times | {"bigint": NUMBERS, "integer": NUMBERS, "bigint[]": ARRAYS}
        odd = [known.get(each, TEXTS) for each in types]
        for row in range(max(map(len, odd), default=1)):
            for shift in range(3 if len(odd) > 1 else 1):
                yield name, [values[(row + shift * place) % len(values)] for place, values in enumerate(odd)]


def test_no_argument_makes_one_tell_of_another_team(team: Team, other_team: Team) -> None:
    red, blue = Rows(team, "zebra").all(), Rows(other_team, "quagga").all()
    calls = list(_calls())
    assert {name for name, _ in calls} == set(DEFINERS) - {"netops_partition_drop"}
    for name, arguments in calls:
        places = ", ".join(["%s"] * len(arguments))
        for scope in (team_scope(red.team.pk), transaction.atomic()):
            with scope:
                try:
                    with transaction.atomic():
                        told = repr(_query(f"SELECT * FROM {name}({places})", *arguments))
                except DatabaseError as error:
                    told = str(error)
                assert not {"quagga", "Blue team", "blue", blue.person.username} & set(told.split("'")), (name, told)
                assert "quagga" not in told.replace(repr(arguments), ""), (name, arguments, told)


def test_due_keys_are_ids_only(team: Team, other_team: Team) -> None:
    Rows(team, "zebra").all(), Rows(other_team, "quagga").all()
    keys = _query("SELECT * FROM netops_due_keys()")
    assert {row[1] for row in keys} == {team.pk, other_team.pk}
    assert {row[0] for row in keys} <= {"topology", "reports", "tickets", "plans", "imports"}
    assert all(type(each) is int for row in keys for each in row[1:])
    columns = _query("SELECT proallargtypes::regtype[]::text FROM pg_proc WHERE proname = 'netops_due_keys'")
    assert columns == [("{text,bigint,bigint}",)]


def test_a_users_teams_are_his_alone(alice: User, charlie: User) -> None:
    assert [seat.slug for seat in Seat.of_user(alice.pk)] == ["red"]
    assert [seat.slug for seat in Seat.of_user(charlie.pk)] == ["blue"]
    assert Seat.of_user(0) == []


def test_a_token_needs_key_and_digest(team: Team, other_team: Team) -> None:
    key, _, secret = token_create(team=team, role="operator").partition(".")
    theirs, _, their_secret = token_create(team=other_team, role="owner").partition(".")
    seat = Seat.of_token(key, token_digest(secret))
    assert seat is not None
    assert (seat.slug, seat.role) == ("red", "operator")
    with team_scope(team.pk):
        stored = ApiToken.objects.get(key=key).digest
    for wrong in (
        (key, token_digest("other")), (key, ""), ("%", stored), (key, "%"), ("", ""), (theirs, stored), (key, secret),
        (key, token_digest(their_secret)), (f"{key} ", stored), (key, stored[:-1]), (key, stored.upper()),
    ):  # fmt: skip
        assert Seat.of_token(*wrong) is None


def test_an_agent_is_found_by_its_whole_key(team: Team, other_team: Team) -> None:
    with team_scope(other_team.pk):
        agent = Agent.objects.create(name="theirs", public_key="cd" * 32)
    assert agent_of_key("cd" * 32) == (other_team.pk, agent.pk)
    for wrong in ("cd" * 31, "CD" * 32, "%", "cd" * 31 + "__", "", "theirs", str(agent.pk)):
        assert agent_of_key(wrong) is None


def test_only_enrolled_agents_are_found_by_their_key(team: Team) -> None:
    with team_scope(team.pk):
        agent = Agent.objects.create(name="mine", public_key="cd" * 32)
        Agent.objects.create(name="old", public_key="", state="legacy")
        for state in ("waiting", "revoked", "legacy"):
            Agent.objects.filter(pk=agent.pk).update(state=state)
            assert agent_of_key("cd" * 32) is None, state
    assert agent_of_key("") is None


@pytest.mark.parametrize("model", [EnrolmentToken, LegacyToken])
def test_a_token_of_agents_needs_its_digest_and_gives_ids_alone(model: Any, team: Team) -> None:
    ends = {"expires": timezone.now() + timedelta(hours=1)} if model is EnrolmentToken else {}
    with team_scope(team.pk):
        made = model.objects.create(name="zebra", digest=token_digest("secret"), **ends)
    asked = f"SELECT * FROM netops_{'enrolment' if ends else 'legacy'}_token(%s)"
    assert _query(asked, token_digest("secret")) == [(team.pk, made.pk)]
    assert _query(asked, "secret") == _query(asked, "") == _query(asked, "%") == []
    if ends:
        with team_scope(team.pk):
            model.objects.update(expires=timezone.now())
        assert _query(asked, token_digest("secret")) == []


def test_a_free_port_is_one_that_no_team_has(team: Team, other_team: Team) -> None:
    assert free_tunnel_port() == 2220
    for each, port in ((team, 2220), (other_team, 2222)):
        with team_scope(each.pk):
            Agent.objects.create(name="pi", tunnel_port=port)
    assert free_tunnel_port() == 2221


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


def test_a_search_gives_ids_of_the_team_in_scope_alone(team: Team, other_team: Team) -> None:
    ids = {}
    for each in (team, other_team):
        with team_scope(each.pk):
            ids[each.pk] = [
                Device.objects.create(**sorted_name(f"quagga-{n}"), router_id=f"10.77.0.{n}", changed=timezone.now()).pk
                for n in (1, 2)
            ]
    asked = "SELECT netops_search(%s, %s, %s)"
    assert _query(asked, "device", "quagga", 10) == [([],)]
    for each in (team, other_team):
        with team_scope(each.pk):
            for text in ("Quagga-", "10.77"):
                assert sorted(_query(asked, "device", text, 10)[0][0]) == ids[each.pk]
                assert _query(asked, "device", text, 1) == [(None,)]
            for text in ("qua%a", "quagga_", "0.77", "10_77", "%"):
                assert _query(asked, "device", text, 10) == [([],)]
            for kind in ("team", "device; SELECT 1", "DEVICE", "deviceauditevent", ""):
                with pytest.raises(DatabaseError, match="can be searched"), transaction.atomic():
                    _query(asked, kind, "quagga", 10)


def test_an_invitation_needs_its_digest_and_gives_ids_alone(team: Team) -> None:
    secret = invitation_create(team=team, email="dave@example.org", role="viewer", invited_by=None)
    with team_scope(team.pk):
        invitation = Invitation.objects.get()
    asked = "SELECT * FROM netops_invitation(%s)"
    assert _query(asked, token_digest(secret)) == [(team.pk, invitation.pk)]
    assert _query(asked, secret) == _query(asked, "") == _query(asked, "%") == []
    with team_scope(team.pk):
        Invitation.objects.update(expires=timezone.now())
    assert _query(asked, token_digest(secret)) == []


def test_partitions_come_and_go_and_are_closed_to_app(team: Team) -> None:
    _query("SELECT netops_partition_ensure('2001-05-05')")
    _query("SELECT netops_partition_ensure('2001-05-05')")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        _query("SELECT * FROM probing_pathminute_20010505")
    assert _query("SELECT count(*) FROM probing_pathminute WHERE minute = '2001-05-05'") == [(0,)]
    dropped = _query("SELECT netops_partition_drop('2001-05-06')")[0][0]
    assert isinstance(dropped, int)
    assert dropped >= 1
    assert _query("SELECT to_regclass('probing_pathminute_20010505')") == [(None,)]


@pytest.mark.parametrize("day", ["today", "yesterday", "tomorrow", "infinity", "9999-12-31", None])
def test_recent_history_cannot_be_dropped(day: str | None, team: Team) -> None:
    Rows(team, "zebra").all()
    with pytest.raises(DatabaseError, match="last seven days"), transaction.atomic():
        _query("SELECT netops_partition_drop(%s::date)", day)
    with team_scope(team.pk):
        assert _query("SELECT count(*) FROM probing_pathminute") == [(1,)]


def test_the_scope_does_not_outlive_its_transaction(team: Team) -> None:
    with team_scope(team.pk):
        assert _query("SELECT current_setting('netops.team', true)") == [(str(team.pk),)]
    assert _query("SELECT current_setting('netops.team', true)")[0][0] in ("", None)
