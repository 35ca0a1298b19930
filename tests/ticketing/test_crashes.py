"""Workers that die or race: nothing is lost, and twice only what the e-mail driver's docstring says."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from core import drain
from core.scope import team_scope
from tenancy.models import Team
from tests.ticketing.conftest import clear, deliver, mail_settings, operations, report
from tests.ticketing.smtp import Mailbox, serving
from ticketing.models import Ticket, TicketOperation
from ticketing.services import desk_create

pytestmark = pytest.mark.django_db(transaction=True)
HANG = 60.0
WORKER = """
import sys, django
django.setup()
from core import drain
drain.get("tickets").run(int(sys.argv[1]), int(sys.argv[2]))
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.02)


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that sees the database and Valkey of this test, as a worker would."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings", "NETOPS_LOG_LEVEL": "ERROR"}
    running = subprocess.Popen([sys.executable, *command], env=environment)
    try:
        yield running
    finally:
        running.kill()
        running.wait(HANG)


def opened(team: Team, port: int) -> Ticket:
    with team_scope(team.pk):
        desk_create(name="mail", driver="email", settings=mail_settings(port))
        ticket: Ticket = report().tickets.get()
        return ticket


def lease_runs_out(team: Team) -> None:
    with team_scope(team.pk):
        assert Ticket.objects.filter(lease_until__gt=timezone.now()).update(lease_until=timezone.now()) == 1


@pytest.mark.parametrize("delivered_before", [False, True])
def test_a_worker_killed_between_claim_and_record(team: Team, delivered_before: bool) -> None:
    """Killed before the server took the mail: delivered once. After: twice, under one Message-ID."""
    mailbox = Mailbox(hold=threading.Event())
    if not delivered_before:
        mailbox.data.append("451 the worker is gone before it hears this")
    with serving(mailbox):
        ticket = opened(team, mailbox.port)
        with process("-c", WORKER, str(team.pk), str(ticket.pk)) as worker:
            wait_for(lambda: mailbox.reached.is_set() or worker.poll() is not None)
            assert worker.poll() is None
            worker.kill()
            worker.wait(HANG)
        assert mailbox.hold
        mailbox.hold.set()
        # Its lease still stands: whoever else comes keeps away until it has run out.
        assert deliver(team) == 0
        lease_runs_out(team)
        assert deliver(team) == 1
        assert len(mailbox.mails) == 1 + delivered_before
        assert len(set(mailbox.header("Message-ID"))) == 1
    with team_scope(team.pk):
        assert operations() == [("create", "done")]
        assert TicketOperation.objects.get().attempts == 2


def test_what_a_worker_says_after_it_lost_its_lease_is_not_recorded(team: Team) -> None:
    mailbox = Mailbox(hold=threading.Event())
    mailbox.data.extend(["554 no", "250 OK"])
    with serving(mailbox):
        ticket = opened(team, mailbox.port)
        slow = threading.Thread(target=run_drain, args=(team, ticket))
        slow.start()
        wait_for(mailbox.reached.is_set)
        lease_runs_out(team)
        hold, mailbox.hold = mailbox.hold, None
        assert deliver(team) == 1
        assert hold
        hold.set()
        slow.join(HANG)
    with team_scope(team.pk):
        assert operations() == [("create", "done")]
        assert Ticket.objects.get().state == "open"


def run_drain(team: Team, ticket: Ticket) -> None:
    try:
        drain.get("tickets").run(team.pk, ticket.pk)
    finally:
        connection.close()


def test_workers_at_once_tell_each_thing_once(team: Team, mailbox: Mailbox) -> None:
    opened(team, mailbox.port)
    with team_scope(team.pk):
        for number in range(5):
            report(element=f"link:{number + 2}")
            clear(element=f"link:{number + 2}")
        tickets = list(Ticket.objects.all())
    threads = [threading.Thread(target=run_drain, args=(team, ticket)) for ticket in tickets for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    deliver(team)
    assert len(mailbox.mails) == 11
    assert len(set(mailbox.header("Message-ID"))) == 11
    with team_scope(team.pk):
        assert not TicketOperation.objects.exclude(state="done").exists()


def test_real_workers_hear_the_nudge_and_deliver_each_mail_once(team: Team, mailbox: Mailbox) -> None:
    celery = ("-m", "celery", "-A", "netops.celery", "worker", "-P", "solo", "-l", "ERROR", "--without-gossip")
    with process(*celery, "-n", "one@test"), process(*celery, "-n", "two@test"):
        opened(team, mailbox.port)
        with team_scope(team.pk):
            for number in range(8):
                report(element=f"link:{number + 2}")
        wait_for(lambda: len(mailbox.mails) == 9)
        with team_scope(team.pk):
            clear()

        def settled() -> bool:
            with team_scope(team.pk):
                return not TicketOperation.objects.exclude(state="done").exists()

        wait_for(settled)
    assert len(mailbox.mails) == 10
    assert len(set(mailbox.header("Message-ID"))) == 10


def test_what_waits_is_found_by_the_sweep(team: Team) -> None:
    """A lost nudge: netops_due_keys() lists the ticket, but not before its time."""
    ticket = opened(team, 1)

    def due() -> list[tuple[object, ...]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT drain, team_id, key_id FROM netops_due_keys()")
            return list(cursor.fetchall())

    assert due() == [("tickets", team.pk, ticket.pk)]
    with team_scope(team.pk):
        TicketOperation.objects.update(not_before=timezone.now() + timedelta(minutes=1))
    assert due() == []
