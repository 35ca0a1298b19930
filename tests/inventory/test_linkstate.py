"""Any sequence of announcements, withdrawals and lost sessions ends in the graph that a rebuild from scratch gives."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.db import transaction
from django.db.models import QuerySet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from inventory.graph import load_graph
from inventory.models import Device, HalfLink, Link, Prefix, Topology, TopologyEvent, TopologySource, TopologyUpdate
from inventory.services import apply_updates, source_delete
from tenancy.models import Team
from tests.inventory import lines
from ticketing.models import Incident

ROUTERS = (1, 2, 3)
HALVES = [
    half for pair in ((1, 2, 0), (1, 2, 1), (2, 3, 0), (1, 3, 0)) for half in lines.both(pair[0], pair[1], pair[2])
]
UNNUMBERED = [lines.link(1, 3, ids=(4, 5)), lines.link(3, 1, ids=(5, 4))]
PREFIXES = [lines.prefix(number, text) for number in ROUTERS for text in ("10.7.0.0/16", "10.7.7.0/24")]
THINGS = [*(lines.node(number) for number in ROUTERS), *HALVES, *UNNUMBERED, *PREFIXES]


def with_metric(thing: lines.Nlri, metric: int) -> lines.Nlri:
    if "bgpls-node" in thing.text:
        return thing
    name = "igp-metric" if "bgpls-link" in thing.text else "prefix-metric"
    return lines.Nlri(thing.text, f'"{name}": {metric}')


def apply(source: TopologySource, said: list[tuple[int, str]]) -> None:
    """One batch of (run, line), as the drain gives it."""
    rows = [TopologyUpdate(source=source, run=run, line=line) for run, line in said]
    apply_updates(TopologySource.objects.get(pk=source.pk), TopologyUpdate.objects.bulk_create(rows))


def picture(source: TopologySource) -> dict[str, Any]:
    """All that is up, by what it is called."""
    return {
        "devices": set(Device.objects.filter(source=source, up=True).values_list("name", flat=True)),
        "halves": set(
            HalfLink.objects.filter(source=source, up=True).values_list(
                "device__igp_router_id", "remote_device__igp_router_id", "interface__name", "igp_metric"
            )
        ),
        "links": {
            frozenset(link.half_links.values_list("device__igp_router_id", "interface__name"))
            for link in Link.objects.filter(a_device__source=source, state="up")
        },
        "prefixes": set(
            Prefix.objects.filter(source=source, up=True).values_list("device__igp_router_id", "prefix", "metric")
        ),
    }


class Discovery(RuleBasedStateMachine):
    """`network` is what the peer has, `told` what of it this session has said, `inbox` what is not drained yet."""

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = transaction.savepoint()
        self.source = TopologySource.objects.create(name=f"s{TopologySource.objects.count()}", host="127.0.0.1", run=1)
        self.network: dict[str, lines.Nlri] = {}
        self.inbox: list[tuple[int, str]] = []
        self.run = 1
        self.in_session = False
        self.was_up: set[int] = set()

    def links(self) -> QuerySet[Any]:
        found: QuerySet[Any] = Link.objects.filter(a_device__source=self.source)
        return found

    def teardown(self) -> None:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(self.savepoint)

    def say(self, line: str) -> None:
        if self.in_session:
            self.inbox.append((self.run, line))

    @initialize(things=st.sets(st.sampled_from(range(len(THINGS)))))
    def start(self, things: set[int]) -> None:
        self.network = {THINGS[index].text: with_metric(THINGS[index], 10) for index in sorted(things)}
        self.connect(order=0, cut=None)

    @rule(thing=st.sampled_from(THINGS), metric=st.sampled_from([5, 10, 20]))
    def announce(self, thing: lines.Nlri, metric: int) -> None:
        self.network[thing.text] = with_metric(thing, metric)
        self.say(lines.announce(self.network[thing.text]))

    @rule(thing=st.sampled_from(THINGS))
    def withdraw(self, thing: lines.Nlri) -> None:
        self.network.pop(thing.text, None)
        self.say(lines.withdraw(thing))

    @rule(thing=st.sampled_from(THINGS))
    def announce_with_a_broken_attribute(self, thing: lines.Nlri) -> None:
        """It says nothing new, and what the network has stays as it was."""
        self.say(lines.announce(thing, error="discard"))

    @rule()
    def lose_the_session(self) -> None:
        self.say(lines.down())
        self.in_session = False

    @rule(order=st.integers(0, 5), cut=st.none() | st.integers(0, 20))
    def connect(self, order: int, cut: int | None) -> None:
        """A new run announces everything in some order; `cut` ends it before that is done."""
        self.run += 1
        TopologySource.objects.filter(pk=self.source.pk).update(run=self.run)
        self.in_session = True
        told = list(self.network.values())
        random.Random(order).shuffle(told)
        self.say(lines.up())
        for thing in told[:cut]:
            self.say(lines.announce(thing))
        if cut is None:
            self.say(lines.end_of_rib())
        else:
            self.lose_the_session()

    @rule()
    def a_killed_listener_says_more(self) -> None:
        """Lines of an older run that were still on their way."""
        self.inbox += [(self.run - 1, lines.withdraw(thing)) for thing in THINGS[:8]]
        self.inbox.append((self.run - 1, lines.end_of_rib()))

    @rule(size=st.integers(1, 40))
    def drain(self, size: int) -> None:
        batch, self.inbox = self.inbox[:size], self.inbox[size:]
        apply(self.source, batch)
        self.was_up |= set(self.links().filter(state="up").values_list("pk", flat=True))

    @rule()
    def compare_with_a_rebuild(self) -> None:
        """Everything drained and the session up: what is there is the network, and nothing else."""
        if not self.in_session:
            self.connect(order=1, cut=None)
        self.drain(len(self.inbox))
        fresh = TopologySource.objects.create(name=f"{self.source.name}r", host="127.0.0.1", run=1)
        said = [lines.up(), *(lines.announce(thing) for thing in self.network.values()), lines.end_of_rib()]
        apply(fresh, [(1, line) for line in said])
        assert picture(self.source) == picture(fresh)
        self.source.refresh_from_db()
        assert self.source.state == "live"
        _, graph = load_graph()
        for source in (self.source, fresh):
            edges = {
                data["half_link"]
                for node, _, data in graph.edges(data=True)
                if node in set(Device.objects.filter(source=source).values_list("id", flat=True))
            }
            wanted = HalfLink.objects.filter(source=source, up=True, link__state="up")
            assert edges == set(wanted.values_list("id", flat=True))
        source_delete(source=fresh)

    @rule()
    def telling_all_again_is_no_news(self) -> None:
        if not self.in_session:
            return
        self.drain(len(self.inbox))
        before = TopologyEvent.objects.count(), Topology.objects.values_list("version", flat=True).first()
        for thing in self.network.values():
            self.say(lines.announce(thing))
        self.drain(len(self.inbox))
        assert before == (TopologyEvent.objects.count(), Topology.objects.values_list("version", flat=True).first())

    @invariant()
    def a_link_is_up_while_both_halves_are(self) -> None:
        for link in self.links():
            ways = set(link.half_links.filter(up=True).values_list("device_id", flat=True))
            assert (link.state == "up") == (len(ways) == 2)

    @invariant()
    def a_link_has_an_incident_while_it_is_down_and_was_up(self) -> None:
        incidents = set(Incident.objects.open().filter(kind="link").values_list("element", flat=True))
        down = set(self.links().filter(state="down").values_list("pk", flat=True)) & self.was_up
        assert incidents == {f"link:{pk}" for pk in down}

    @invariant()
    def links_are_named_after_their_devices(self) -> None:
        for link in self.links().select_related("a_device", "z_device"):
            parallel = Link.objects.filter(a_device=link.a_device, z_device=link.z_device).count() > 1
            name = f"{link.a_device.name}–{link.z_device.name}"
            assert link.name.startswith(f"{name} (") if parallel else link.name == name


def test_every_history_ends_in_the_right_graph(scope: Team) -> None:
    run_state_machine_as_test(Discovery, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_batches_do_not_matter(scope: Team, batch: int) -> None:
    """The same lines in batches of any size give the same picture and the same events."""
    told = [lines.up(), *(lines.announce(thing) for thing in THINGS), lines.end_of_rib()]
    told += [lines.withdraw(HALVES[0]), lines.announce(HALVES[0]), lines.withdraw(UNNUMBERED[0]), lines.down()]
    told += [lines.up(), *(lines.announce(thing) for thing in THINGS[:9]), lines.end_of_rib()]
    source = TopologySource.objects.create(name="lab", host="127.0.0.1", run=1)
    for start in range(0, len(told), batch):
        apply(source, [(1, line) for line in told[start : start + batch]])
    seen = picture(source)
    assert {kind: len(found) for kind, found in seen.items()} == {"devices": 3, "halves": 6, "links": 3, "prefixes": 0}
    kinds = list(TopologyEvent.objects.values_list("kind", flat=True))
    assert kinds.count("half_link_up") == 11
    assert kinds.count("half_link_down") == 1 + 1 + 3
    assert kinds.count("link_down") == 1 + 1 + 1
