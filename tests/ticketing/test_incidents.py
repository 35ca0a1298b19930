"""One incident per root cause: opened once, held by its sources, resolved when the last lets go."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from core.scope import team_scope
from tenancy.models import Team
from tests.ticketing.conftest import clear, report
from ticketing.models import Desk, Incident, IncidentEvent, Ticket, TicketOperation


def verbs(incident: Incident) -> list[str]:
    return list(TicketOperation.objects.filter(ticket__incident=incident).order_by("id").values_list("verb", flat=True))


def timeline(incident: Incident) -> list[str]:
    return list(incident.events.order_by("id").values_list("text", flat=True))


@pytest.fixture
def desk(scope: Team) -> Desk:
    return Desk.objects.create(name="mail", driver="email")


def test_a_report_opens_one_incident_and_one_ticket_per_enabled_desk(desk: Desk) -> None:
    Desk.objects.create(name="off", driver="email", enabled=False)
    second = Desk.objects.create(name="second", driver="email")
    incident = report()
    assert (incident.state, incident.episode, incident.severity) == ("open", 1, "critical")
    assert set(Ticket.objects.values_list("desk", flat=True)) == {desk.pk, second.pk}
    assert verbs(incident) == ["create", "create"]


def test_repeating_a_report_changes_nothing(desk: Desk) -> None:
    evidence = {"paths": [{"text": "R1 R2 R4", "state": "down"}], "direction": "R2 → R4", "loss": 1.0}
    first = report(evidence=evidence)
    for _ in range(3):
        assert report(evidence=evidence).pk == first.pk
    assert timeline(first) == ["Opened: 4 of 8 paths are down"]
    assert verbs(first) == ["create"]


def test_new_evidence_alone_is_kept_without_a_line_in_the_timeline(desk: Desk) -> None:
    report(evidence={"loss": 0.5})
    incident = report(evidence={"loss": 0.75})
    assert incident.evidence == {"probing:1": {"loss": 0.75}}
    assert IncidentEvent.objects.count() == 1


def test_it_resolves_once_when_the_last_source_lets_go(desk: Desk) -> None:
    incident = report("probing:1")
    report("topology", reason="both half-links were withdrawn")
    assert clear("probing:1") == incident
    assert clear("probing:1") is None
    incident.refresh_from_db()
    assert incident.state == "open"
    clear("topology", reason="announced again")
    assert clear("topology") is None
    incident.refresh_from_db()
    assert incident.state == "resolved"
    assert incident.resolved is not None
    assert set(incident.evidence) == {"probing:1", "topology"}
    assert verbs(incident) == ["create", "resolve"]
    assert timeline(incident) == [
        "Opened: 4 of 8 paths are down",
        "Also: both half-links were withdrawn",
        "No longer: probes pass again",
        "Resolved: announced again",
    ]


def test_a_resolved_element_that_fails_again_is_a_new_episode(desk: Desk) -> None:
    first = report()
    clear()
    again = report()
    assert (again.pk != first.pk, again.episode) == (True, 2)
    assert timeline(again) == ["Opened (episode 2): 4 of 8 paths are down"]
    assert Ticket.objects.count() == 2


def test_a_changed_title_is_one_note_until_it_was_told(desk: Desk) -> None:
    incident = report()
    report(title="Link R2 → R4 loses packets", reason="one way")
    report(title="Link R4 → R2 loses packets", reason="the other way")
    assert verbs(incident) == ["create", "note"]
    assert TicketOperation.objects.get(verb="note").payload["title"] == "Link R4 → R2 loses packets"
    TicketOperation.objects.filter(verb="note").update(attempts=1)
    report(title="Link R2 – R4 is down")
    assert verbs(incident) == ["create", "note", "note"]


def test_two_sources_that_take_turns_do_not_rewrite_the_title(desk: Desk) -> None:
    incident = report("probing:1", severity="warning", title="lossy")
    for _ in range(3):
        report("topology", title="withdrawn")
        report("probing:1", severity="warning", title="lossy")
    incident.refresh_from_db()
    assert (incident.title, incident.severity) == ("withdrawn", "critical")
    assert verbs(incident) == ["create", "note"]
    clear("topology")
    incident.refresh_from_db()
    assert (incident.title, incident.severity) == ("lossy", "warning")


def test_an_unknown_severity_is_an_error_of_the_caller(desk: Desk) -> None:
    with pytest.raises(ValueError, match="fatal"):
        report(severity="fatal")


def test_hostile_texts_and_evidence_are_bounded(desk: Desk) -> None:
    nested: dict[str, Any] = {}
    for _ in range(50):
        nested = {"deeper": nested}
    incident = report(
        title="down\r\nBcc: all@example.org\x00" + "x" * 10_000,
        reason="\x1b[2J\u202e" + "y" * 10_000,
        evidence={
            "paths": [{"text": "<script>" * 1000 + "\x00\ud800", "state": "down"}] * 100_000,
            "number": float("nan"),
            "big": 10**400,
            "nested": nested,
            "object": object(),
            7: (1, 2),
        },
    )
    incident.refresh_from_db()
    assert len(incident.title) == 200
    assert incident.title.startswith("down Bcc: all@example.org xxx")
    assert incident.evidence["probing:1"]["truncated"] is True
    assert len(str(incident.evidence)) < 40_000
    assert len(timeline(incident)[0]) <= 500
    assert not any(unfit in timeline(incident)[0] for unfit in "\x1b\u202e\n")


def test_the_evidence_of_many_sources_does_not_pile_up(desk: Desk) -> None:
    report("topology")
    for number in range(100):
        report(f"probing:{number}")
        clear(f"probing:{number}")
    assert len(Incident.objects.get().evidence) <= 33


def together(team: Team, *works: Callable[[], object]) -> None:
    """Run each work in a thread of its own, with the team in scope, all starting at once."""
    start, errors = threading.Barrier(len(works)), []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait(30)
            with team_scope(team.pk):
                work()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


@pytest.mark.django_db(transaction=True)
def test_workers_that_report_at_once_open_one_incident(team: Team) -> None:
    with team_scope(team.pk):
        Desk.objects.create(name="mail", driver="email")
    for _ in range(5):
        together(team, *[lambda n=n: report(f"probing:{n}") for n in range(6)])
        with team_scope(team.pk):
            incident = Incident.objects.open().get()
            assert set(incident.causes) == {f"probing:{n}" for n in range(6)}
        together(team, *[lambda n=n: clear(f"probing:{n}") for n in range(6)])
    with team_scope(team.pk):
        assert list(Incident.objects.order_by("id").values_list("episode", "state")) == [
            (number, "resolved") for number in range(1, 6)
        ]
        for incident in Incident.objects.all():
            assert verbs(incident) == ["create", "resolve"]


@pytest.mark.django_db(transaction=True)
def test_reports_and_clears_at_once_keep_the_rules(team: Team) -> None:
    for _ in range(10):
        together(
            team, *[work for n in range(3) for work in (lambda n=n: report(f"p:{n}"), lambda n=n: clear(f"p:{n}"))]
        )
    with team_scope(team.pk):
        for incident in Incident.objects.all():
            assert (incident.state == "open") == bool(incident.causes)
        assert Incident.objects.open().count() <= 1
