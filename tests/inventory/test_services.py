"""From stored lines to the network that users see: every effect of the drain, one at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from core.scope import team_scope
from inventory import hooks
from inventory.models import (
    Device,
    Endpoint,
    HalfLink,
    Interface,
    Link,
    Prefix,
    Topology,
    TopologyEvent,
    TopologySource,
    TopologyUpdate,
)
from inventory.services import (
    SYNC_LIMIT,
    apply_updates,
    endpoint_set,
    mark_stale,
    source_create,
    source_delete,
    source_update,
)
from tenancy.models import Team
from tests.inventory import lines
from tests.inventory.lines import announce, both, link, node, prefix, withdraw
from ticketing.models import Incident


def hear(source: TopologySource, *said: str, run: int | None = None) -> None:
    """One batch, as the drain gives it."""
    fresh = TopologySource.objects.get(pk=source.pk)
    rows = [TopologyUpdate(source=source, run=run or fresh.run, line=line) for line in said]
    apply_updates(fresh, TopologyUpdate.objects.bulk_create(rows))
    TopologyUpdate.objects.all().delete()
    source.refresh_from_db()


def square(*, metric: int = 10) -> list[str]:
    """Four routers in a ring, announced."""
    nodes = [announce(node(number)) for number in (1, 2, 3, 4)]
    halves = [half for pair in ((1, 2), (2, 3), (3, 4), (4, 1)) for half in both(*pair, metric=metric)]
    return [*nodes, *(announce(half) for half in halves)]


def sync(source: TopologySource, *said: str) -> None:
    hear(source, lines.up(), *said, lines.end_of_rib())


def states() -> dict[str, str]:
    return dict(Link.objects.values_list("name", "state"))


def version() -> int:
    return Topology.objects.values_list("version", flat=True).first() or 0


def kinds() -> list[str]:
    return list(TopologyEvent.objects.order_by("id").values_list("kind", flat=True))


def last_text() -> str:
    found: str = TopologyEvent.objects.order_by("-id").values_list("text", flat=True)[0]
    return found


def open_incidents() -> list[str]:
    return sorted(Incident.objects.open().values_list("title", flat=True))


RING = dict.fromkeys(["R1–R2", "R2–R3", "R3–R4", "R1–R4"], "up")


def test_a_first_sync(source: TopologySource) -> None:
    sync(source, *square())
    assert states() == RING
    assert (source.state, source.session) == ("live", 1)
    assert source.session_began
    assert source.synced
    assert version() == 1
    assert Device.objects.filter(up=True).count() == 4
    assert Interface.objects.count() == 8
    assert kinds().count("link_up") == 4
    assert (kinds()[0], kinds()[-1]) == ("session_up", "source_live")
    assert set(TopologyEvent.objects.values_list("version", flat=True)) == {1}
    assert open_incidents() == []


def test_telling_the_same_again_changes_nothing(source: TopologySource) -> None:
    sync(source, *square())
    events = kinds()
    hear(source, *square())
    assert (kinds(), version()) == (events, 1)


def test_a_link_needs_both_directions(source: TopologySource) -> None:
    there, back = both(1, 2)
    sync(source, announce(node(1)), announce(node(2)), announce(there))
    assert states() == {"R1–R2": "down"}
    assert open_incidents() == []  # it never was up
    hear(source, announce(back))
    assert states() == {"R1–R2": "up"}


def test_a_withdrawn_half_link_takes_its_link_down_and_opens_an_incident(source: TopologySource) -> None:
    sync(source, *square())
    hear(source, withdraw(both(2, 3)[0]))
    assert states() == RING | {"R2–R3": "down"}
    assert open_incidents() == ["Link R2–R3 is down"]
    incident = Incident.objects.get()
    assert incident.element == f"link:{Link.objects.get(name='R2–R3').pk}"
    assert "R2→R3 was withdrawn" in incident.causes["topology"]["reason"]
    assert incident.evidence["topology"] == {"version": 2, "direction": "R2→R3"}
    assert version() == 2
    hear(source, withdraw(both(2, 3)[1]))
    assert Incident.objects.get().evidence["topology"]["direction"] == ""
    hear(source, announce(both(2, 3)[0]))
    assert Incident.objects.get().evidence["topology"]["direction"] == "R3→R2"
    hear(source, announce(both(2, 3)[1]))
    assert states() == RING
    assert open_incidents() == []


def test_a_flap_within_one_batch_is_two_events_and_no_incident(source: TopologySource) -> None:
    sync(source, *square())
    half = both(2, 3)[0]
    hear(source, withdraw(half), announce(half))
    assert kinds()[-4:] == ["half_link_down", "link_down", "half_link_up", "link_up"]
    assert not Incident.objects.exists()
    assert version() == 2


def test_parallel_links_are_different_links(source: TopologySource) -> None:
    first, second = both(1, 2, 0), both(1, 2, 1)
    sync(source, *(announce(each) for each in (node(1), node(2), *first)))
    assert states() == {"R1–R2": "up"}
    hear(source, *(announce(each) for each in second))
    assert states() == {"R1–R2 (10.1.2.0)": "up", "R1–R2 (10.1.2.2)": "up"}
    hear(source, withdraw(second[1]))
    assert states() == {"R1–R2 (10.1.2.0)": "up", "R1–R2 (10.1.2.2)": "down"}


def test_unnumbered_links_pair_by_their_identifiers(source: TopologySource) -> None:
    halves = [link(1, 2, ids=(5, 6)), link(2, 1, ids=(6, 5)), link(1, 2, ids=(7, 8)), link(2, 1, ids=(8, 9))]
    sync(source, announce(node(1)), announce(node(2)), *(announce(half) for half in halves))
    assert Link.objects.filter(state="up").count() == 1
    assert states()["R1–R2 (#5)"] == "up"
    assert set(Interface.objects.values_list("name", flat=True)) == {"#5", "#6", "#7", "#8"}


def test_a_lan_is_a_pseudonode_between_its_routers(source: TopologySource) -> None:
    """A router knows its own address on the LAN, the pseudonode knows none (RFC 9552 section 5.2.2)."""

    def lan(nlri: lines.Nlri, which: str) -> str:
        """The node `2` at this end of the link is its pseudonode."""
        text = nlri.text
        at = text.index("}, {", text.index(which)) + 4
        end = text.index("}", at)
        return announce(lines.Nlri(f'{text[:end]}, "psn": "1"{text[end:]}', nlri.attribute))

    out = link(1, 2, ("10.0.0.1", "10.0.0.1"))
    out = lines.Nlri(out.text.replace('"neighbor-addresses": ["10.0.0.1"]', '"neighbor-addresses": []'), out.attribute)
    sync(source, announce(node(1)), lan(out, "remote-node"), lan(link(2, 1), "local-node"))
    assert list(Link.objects.values_list("state", flat=True)) == ["up"]


def test_names_that_come_late_reach_the_links(source: TopologySource) -> None:
    sync(source, *(announce(half) for half in both(1, 2)))
    assert list(states()) == [f"{lines.system(1)}–{lines.system(2)}"]
    assert set(Device.objects.values_list("up", flat=True)) == {False}
    hear(source, announce(node(1, "z")), announce(node(2, "a")))
    assert states() == {"a–z": "up"}
    found = Link.objects.get()
    assert (found.a_device.name, found.z_device.name) == ("a", "z")
    hear(source, announce(node(1, "z2")))
    assert states() == {"a–z2": "up"}
    assert "z is now called z2" in TopologyEvent.objects.get(kind="device_changed").text


def test_changed_attributes_are_one_event_each(source: TopologySource) -> None:
    sync(source, *square(), announce(prefix(1, "10.9.0.0/24")))
    half = both(1, 2)[0]
    hear(source, announce(lines.Nlri(half.text, '"igp-metric": 30, "te-metric": 5')))
    assert kinds()[-1] == "half_link_changed"
    assert last_text() == "R1→R2: metric 10 → 30, TE metric None → 5"
    hear(source, announce(prefix(1, "10.9.0.0/24", metric=99)))
    assert last_text().endswith("10.9.0.0/24 at R1: metric 10 → 99")
    assert (version(), states()) == (3, RING)


def test_a_discarded_attribute_keeps_what_is_known(source: TopologySource) -> None:
    sync(source, *square(metric=30))
    before = kinds()
    half = both(1, 2)[0]
    hear(source, announce(half, error="discard"))
    assert HalfLink.objects.get(local_address="10.1.2.0").igp_metric == 30
    assert kinds() == before
    sync(source, *(announce(lines.Nlri(half.text), error="discard") for half in [node(1), node(2), *both(1, 2)]))
    assert states() == dict.fromkeys(RING, "down") | {"R1–R2": "up"}


def test_a_new_session_sweeps_what_it_does_not_announce(source: TopologySource) -> None:
    sync(source, *square(), announce(prefix(3, "10.9.0.0/24")))
    hear(source, lines.down())
    assert states() == RING
    assert "lost: peer reset" in source.problem
    hear(source, lines.up(), *square()[:3], *(announce(half) for half in both(1, 2)))
    assert (states(), source.state, source.problem) == (RING, "syncing", "")
    hear(source, lines.end_of_rib())
    assert states() == dict.fromkeys(RING, "down") | {"R1–R2": "up"}
    assert list(Device.objects.filter(up=False).values_list("name", flat=True)) == ["R4"]
    assert not Prefix.objects.get().up
    assert len(open_incidents()) == 3
    assert source.state == "live"


def test_without_end_of_rib_a_timer_sweeps(source: TopologySource) -> None:
    sync(source, *square())
    hear(source, lines.up(), *square()[:4], *(announce(half) for half in both(1, 2)))
    now = timezone.now()
    TopologySource.objects.update(heard=now + SYNC_LIMIT)
    assert mark_stale(now=now) == 0
    assert states() == RING
    assert mark_stale(now=now + SYNC_LIMIT + timedelta(seconds=1)) == 1
    assert states() == dict.fromkeys(RING, "down") | {"R1–R2": "up"}
    source.refresh_from_db()
    assert source.state == "live"


def test_an_end_of_rib_that_is_drained_late_still_sweeps(source: TopologySource) -> None:
    sync(source, *square())
    hear(source, lines.up(), *square()[:4], *(announce(half) for half in both(1, 2)))
    assert mark_stale(now=timezone.now() + timedelta(seconds=30)) == 1
    hear(source, lines.end_of_rib())
    assert states() == dict.fromkeys(RING, "down") | {"R1–R2": "up"}
    assert source.state == "live"


def test_the_timer_waits_for_what_is_not_drained(source: TopologySource) -> None:
    sync(source, *square())
    hear(source, lines.up())
    TopologyUpdate.objects.create(source=source, run=1, line=lines.end_of_rib())
    later = timezone.now() + SYNC_LIMIT + timedelta(seconds=1)
    TopologySource.objects.update(heard=later)
    assert mark_stale(now=later) == 0


def test_lines_of_an_older_run_are_void(source: TopologySource) -> None:
    sync(source, *square())
    TopologySource.objects.update(run=2)
    hear(source, withdraw(both(1, 2)[0]), lines.end_of_rib(), run=1)
    assert states() == RING


def test_a_silent_source_goes_stale_and_comes_back(source: TopologySource) -> None:
    sync(source, *square())
    now = timezone.now()
    TopologySource.objects.update(heard=now)
    assert mark_stale(now=now + timedelta(seconds=9)) == 0
    assert mark_stale(now=now + timedelta(seconds=10)) == 1
    assert mark_stale(now=now + timedelta(seconds=15)) == 0
    source.refresh_from_db()
    assert source.state == "stale"
    assert "Nothing was heard from 127.0.0.1 for 9 s" in source.problem
    assert (states(), version()) == (RING, 1)
    assert kinds()[-1] == "source_stale"
    TopologySource.objects.update(heard=now + timedelta(seconds=20))
    assert mark_stale(now=now + timedelta(seconds=21)) == 1
    source.refresh_from_db()
    assert (source.state, source.problem) == ("live", "")


def test_a_source_that_never_spoke_only_waits(source: TopologySource) -> None:
    assert mark_stale(now=timezone.now() + timedelta(days=1)) == 0


def test_two_sources_do_not_touch_each_other(source: TopologySource) -> None:
    other = TopologySource.objects.create(name="other", host="127.0.0.1", run=1)
    sync(source, *square())
    sync(other, *square())
    assert Device.objects.count() == 8
    sync(other)
    assert Link.objects.filter(state="up", a_device__source=source).count() == 4
    assert not Link.objects.filter(state="up", a_device__source=other).exists()


def test_malformed_lines_are_left_out(source: TopologySource, caplog: pytest.LogCaptureFixture) -> None:
    sync(source, "{", announce(node(1)), "nonsense", announce(lines.Nlri('{ "ls-nlri-type": "bgpls-node" }')))
    assert Device.objects.count() == 1
    assert "3 things it said made no sense" in caplog.text


def test_hooks_hear_of_each_new_version_once(
    scope: Team, source: TopologySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr(hooks, "on_topology_change", [lambda team, number: heard.append((team, number))])
    sync(source, *square())
    hear(source, *square())
    hear(source, withdraw(both(1, 2)[0]))
    assert heard == [(scope.pk, 1), (scope.pk, 2)]


def test_an_endpoint_is_set_and_moved(scope: Team) -> None:
    first = endpoint_set(name="dev1", address="20.0.0.2")
    assert endpoint_set(name="dev1", address="20.0.0.2").pk == first.pk
    assert version() == 1
    endpoint_set(name="dev1", address="20.0.0.6")
    assert (Endpoint.objects.get().address, version()) == ("20.0.0.6", 2)
    with pytest.raises(ValidationError, match="address"):
        endpoint_set(name="dev2", address="20.0.0")
    with pytest.raises(ValidationError, match="name"):
        endpoint_set(name="", address="20.0.0.2")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"host": "10.0.0.1"}, "host"),
        ({"host": "no.such.host.invalid"}, "host"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"local_as": 2**32}, "local_as"),
        ({"peer_as": 0}, "peer_as"),
        ({"hold_time_s": 2}, "hold_time_s"),
        ({"hold_time_s": 65536}, "hold_time_s"),
        ({"router_id": "::1"}, "router_id"),
        ({"name": ""}, "name"),
        ({"name": "lab"}, "__all__"),
    ],
)
def test_a_source_that_cannot_work_is_refused(source: TopologySource, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        source_create(**({"name": "new", "host": "127.0.0.1"} | wrong))  # type: ignore[arg-type]
    assert list(refused.value.message_dict) == [field]


def test_a_source_is_changed_and_deleted(source: TopologySource) -> None:
    sync(source, *square())
    source_update(source=source, port=1179)
    assert TopologySource.objects.get().port == 1179
    with pytest.raises(ValidationError):
        source_update(source=source, port=0)
    source_delete(source=source)
    assert not Link.objects.exists()
    assert version() == 2


def test_another_team_has_none_of_it(source: TopologySource, other_team: Team) -> None:
    sync(source, *square())
    with team_scope(other_team.pk):
        assert not Device.objects.exists()
        assert not TopologyEvent.objects.exists()
        assert version() == 0
