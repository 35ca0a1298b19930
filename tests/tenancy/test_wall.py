"""The threefold wall: manager, row-level security, foreign keys."""

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone

from core.scope import NoTeamInScope, team_scope
from inventory.models import Endpoint, sorted_name
from netops.walls import team_models
from tenancy.models import Membership, Team, User
from ticketing.models import Desk, Incident, Ticket


def test_manager_refuses_without_a_team(team: Team) -> None:
    with pytest.raises(NoTeamInScope):
        Endpoint.objects.count()


def test_manager_and_database_show_only_the_team_in_scope(team: Team, other_team: Team) -> None:
    for each, name in ((team, "a"), (other_team, "b")):
        with team_scope(each.pk):
            Endpoint.objects.create(**sorted_name(name), address="192.0.2.1")
    with team_scope(team.pk):
        assert [e.name for e in Endpoint.objects.all()] == ["a"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM inventory_endpoint")
            assert cursor.fetchall() == [("a",)]


def test_a_raw_query_without_scope_sees_nothing(alice: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tenancy_membership")
        assert cursor.fetchone() == (0,)


def test_a_foreign_insert_is_refused_by_the_database(team: Team, other_team: Team) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), team_scope(team.pk):
        Endpoint.objects.create(team=other_team, **sorted_name("x"), address="192.0.2.1")


def test_a_foreign_key_into_another_team_is_refused(team: Team, other_team: Team) -> None:
    with team_scope(other_team.pk):
        desk = Desk.objects.create(name="theirs", driver="email")
    with team_scope(team.pk), connection.cursor() as cursor:
        incident = Incident.objects.create(kind="link", element="link:1", title="x", opened=timezone.now())
        Ticket.objects.create(incident=incident, desk_id=desk.pk)
        with pytest.raises(IntegrityError, match="desk_id_team_fk"), transaction.atomic():
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        Ticket.objects.all().delete()


def test_nested_scopes_give_the_outer_team_back(team: Team, other_team: Team) -> None:
    with team_scope(team.pk):
        with team_scope(other_team.pk):
            assert Membership.objects.count() == 0
        with pytest.raises(ValueError), team_scope(other_team.pk):
            raise ValueError
        Endpoint.objects.create(**sorted_name("back"), address="192.0.2.1")
        assert Endpoint.objects.get().team_id == team.pk


@pytest.mark.parametrize("model", team_models(), ids=lambda model: model.__name__)
def test_every_team_table_has_its_walls(model: type, db: None) -> None:
    table = model._meta.db_table  # type: ignore[attr-defined]
    with connection.cursor() as cursor:
        cursor.execute("SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", [table])
        assert cursor.fetchone() == (True,)
        cursor.execute("SELECT qual = with_check FROM pg_policies WHERE tablename = %s", [table])
        assert cursor.fetchall() == [(True,)]
