"""Any sequence of reports, clears and deliveries against a model in plain Python."""

import itertools
from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tenancy.models import Team
from tests.ticketing.conftest import clear, deliver, report
from tests.ticketing.smtp import Mailbox
from ticketing.models import Desk, Incident, TicketOperation

SOURCES = st.sampled_from(["topology", "probing:1", "probing:2"])
ELEMENTS = st.sampled_from(["link:1", "link:2", "node:1"])
TITLES = st.sampled_from(["is down", "loses packets", "is slow"])
SEVERITIES = st.sampled_from(["critical", "warning"])


@dataclass
class Cause:
    title: str
    severity: str
    age: int


@dataclass
class Episode:
    """What one incident should be: its causes by source, and what its desk was and is to be told."""

    title: str
    causes: dict[str, Cause]
    waiting: list[str] = field(default_factory=lambda: ["create"])
    told: list[str] = field(default_factory=list)

    def lead(self) -> None:
        leader = min(self.causes.values(), key=lambda cause: (cause.severity, cause.age))
        if leader.title != self.title:
            self.title = leader.title
            if "note" not in self.waiting:
                self.waiting.append("note")


def machine(team: Team, mailbox: Mailbox) -> type[RuleBasedStateMachine]:
    class Incidents(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            Incident.objects.all().delete()
            mailbox.mails.clear()
            self.episodes: dict[str, list[Episode]] = defaultdict(list)
            self.ages = itertools.count()

        def open_episode(self, element: str) -> Episode | None:
            last = self.episodes[element][-1:]
            return last[0] if last and last[0].causes else None

        @rule(element=ELEMENTS, source=SOURCES, title=TITLES, severity=SEVERITIES)
        def report(self, element: str, source: str, title: str, severity: str) -> None:
            incident = report(source, element=element, title=title, severity=severity)
            assert incident.state == "open"
            if (episode := self.open_episode(element)) is None:
                episode = Episode(title, {source: Cause(title, severity, next(self.ages))})
                self.episodes[element].append(episode)
            else:
                known = episode.causes.get(source)
                age = known.age if known else next(self.ages)
                episode.causes[source] = Cause(title, severity, age)
                episode.lead()

        @rule(element=ELEMENTS, source=SOURCES)
        def clear(self, element: str, source: str) -> None:
            incident = clear(source, element=element)
            episode = self.open_episode(element)
            if episode is None or source not in episode.causes:
                assert incident is None
                return
            del episode.causes[source]
            if episode.causes:
                episode.lead()
            else:
                episode.waiting.append("resolve")
            assert incident is not None
            assert incident.state == ("open" if episode.causes else "resolved")

        @rule(lost=st.booleans())
        def deliver(self, lost: bool) -> None:
            """With `lost`, the server is out of order for the first mail: it goes out later, and all after it."""
            if lost:
                mailbox.data.append("451 later")
                deliver(team)
            deliver(team, wait=True)
            mailbox.data.clear()
            for episode in itertools.chain(*self.episodes.values()):
                episode.told, episode.waiting = episode.told + episode.waiting, []

        @invariant()
        def incidents_are_those_of_the_model(self) -> None:
            found = Incident.objects.order_by("episode")
            rows: dict[str, list[Incident]] = defaultdict(list)
            for incident in found:
                rows[incident.element].append(incident)
            assert {name: len(each) for name, each in rows.items()} == {
                name: len(each) for name, each in self.episodes.items() if each
            }
            for name, incidents in rows.items():
                assert sum(incident.state == "open" for incident in incidents) <= 1
                for number, (incident, episode) in enumerate(zip(incidents, self.episodes[name], strict=True), 1):
                    assert (incident.episode, incident.title) == (number, episode.title)
                    assert set(incident.causes) == set(episode.causes)
                    assert (incident.state == "open") == bool(episode.causes) == (incident.resolved is None)
                    self.check_operations(incident, episode)

        def check_operations(self, incident: Incident, episode: Episode) -> None:
            operations = TicketOperation.objects.filter(ticket__incident=incident).order_by("id")
            done = [operation.verb for operation in operations if operation.state == "done"]
            assert done == episode.told
            assert [operation.verb for operation in operations if operation.state == "pending"] == episode.waiting
            mails = [mail for mail in mailbox.mails if mail["X-Netops-Incident"].split("/")[1] == str(incident.pk)]
            assert len(mails) == len(episode.told)
            assert all(mail["References"] == mails[0]["Message-ID"] for mail in mails[1:])

        def teardown(self) -> None:
            mailbox.data.clear()

    return Incidents


def test_incidents_and_their_tickets_follow_the_model(desk: Desk, scope: Team, mailbox: Mailbox) -> None:
    run_state_machine_as_test(
        machine(scope, mailbox),
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
