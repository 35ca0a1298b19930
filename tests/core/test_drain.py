"""The drain against crashes: whatever dies between two rows, each is applied once and in order."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from core.drain import Drain, LeasedDrain
from core.scope import team_scope
from inventory.models import TopologySource, TopologyUpdate
from tenancy.models import Team
from tenancy.services import team_create
from ticketing.models import Desk, Incident, Ticket, TicketOperation


class Killed(BaseException):
    """Stands for a worker that dies."""


class TestDrain(TestCase):
    """Lines are collected in the source's `problem`, so that they share the transaction's fate."""

    def setUp(self) -> None:
        self.team = team_create(slug="drain", name="Drain")
        with team_scope(self.team.pk):
            self.source = TopologySource.objects.create(name="rr", host="192.0.2.1")

    def _append(self, key: Any, rows: Sequence[Any]) -> None:
        key.problem += "".join(row.line for row in rows)
        key.save(update_fields=["problem"])
        if self.deaths and self.deaths.pop(0):
            raise Killed

    @settings(max_examples=30, deadline=None)
    @given(lines=st.lists(st.sampled_from("abcdef"), max_size=12), deaths=st.lists(st.booleans(), max_size=8))
    def test_every_row_once_and_in_order(self, lines: list[str], deaths: list[bool]) -> None:
        self.deaths = list(deaths)
        drain = Drain("t", TopologyUpdate, "source", self._append, batch=3)
        with team_scope(self.team.pk):
            for line in lines:
                TopologyUpdate.objects.create(source=self.source, run=1, line=line)
        for _ in range(len(deaths) + 1):
            try:
                drain.run(self.team.pk, self.source.pk)
                break
            except Killed:
                continue
        with team_scope(self.team.pk):
            self.source.refresh_from_db()
            assert self.source.problem == "".join(lines)
            assert not TopologyUpdate.objects.exists()


def test_another_teams_key_is_not_found(team: Team, other_team: Team) -> None:
    applied: list[Any] = []
    drain = Drain("t", TopologyUpdate, "source", lambda key, rows: applied.extend(rows))
    with team_scope(other_team.pk):
        source = TopologySource.objects.create(name="rr", host="192.0.2.1")
        TopologyUpdate.objects.create(source=source, run=1, line="x")
    assert drain.run(team.pk, source.pk) == 0
    assert not applied
    assert drain.run(other_team.pk, source.pk) == 1


@pytest.fixture
def ticket(team: Team) -> Ticket:
    with team_scope(team.pk):
        now = timezone.now()
        incident = Incident.objects.create(kind="link", element="link:1", title="x", opened=now)
        desk = Desk.objects.create(name="d", driver="email")
        ticket: Ticket = Ticket.objects.create(incident=incident, desk=desk)
        for verb in ("create", "note", "resolve"):
            TicketOperation.objects.create(ticket=ticket, verb=verb, not_before=now)
        return ticket


class Desks:
    """A desk that notes what it was told; `steal` takes the lease away while it is told."""

    def __init__(self, team: Team) -> None:
        self.told: list[str] = []
        self.steal = False
        self.team = team

    def due(self, key_id: int, now: object) -> Any:
        return TicketOperation.objects.filter(ticket_id=key_id, state="pending").order_by("id").first()

    def perform(self, key: Any, operation: Any) -> str:
        self.told.append(operation.verb)
        if self.steal:
            with team_scope(self.team.pk):
                Ticket.objects.filter(pk=key.pk).update(fence=key.fence + 1)
        return "ok"

    def record(self, key: Any, operation: Any, outcome: Any) -> None:
        operation.state = "done"
        operation.save()

    def drain(self) -> LeasedDrain:
        return LeasedDrain("t", Ticket, self.due, self.perform, self.record)


def test_leased_operations_go_out_in_order(team: Team, ticket: Ticket) -> None:
    desks = Desks(team)
    assert desks.drain().run(team.pk, ticket.pk) == 3
    assert desks.told == ["create", "note", "resolve"]


def test_a_held_lease_keeps_others_away_until_it_expires(team: Team, ticket: Ticket) -> None:
    desks = Desks(team)
    with team_scope(team.pk):
        Ticket.objects.filter(pk=ticket.pk).update(lease_until=timezone.now() + timedelta(seconds=30))
    assert desks.drain().run(team.pk, ticket.pk) == 0
    with team_scope(team.pk):
        Ticket.objects.filter(pk=ticket.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert desks.drain().run(team.pk, ticket.pk) == 3


def test_an_outcome_under_a_lost_fence_is_not_recorded(team: Team, ticket: Ticket) -> None:
    desks = Desks(team)
    desks.steal = True
    assert desks.drain().run(team.pk, ticket.pk) == 0
    with team_scope(team.pk):
        assert TicketOperation.objects.filter(state="pending").count() == 3


def test_the_sweep_lists_keys_of_every_team_and_nothing_else(team: Team, ticket: Ticket, other_team: Team) -> None:
    with team_scope(other_team.pk):
        source = TopologySource.objects.create(name="rr", host="192.0.2.1")
        TopologyUpdate.objects.create(source=source, run=1, line="secret")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM netops_due_keys() ORDER BY 1")
        assert cursor.fetchall() == [("tickets", team.pk, ticket.pk), ("topology", other_team.pk, source.pk)]
