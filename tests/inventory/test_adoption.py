"""What was written down first and learned later is one row, in whatever order and batches the network tells of it."""

from __future__ import annotations

import random

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.scope import team_scope
from inventory.models import Device, HalfLink, Interface, Link, Site, TopologySource, TopologyUpdate
from inventory.services import apply_updates, source_delete
from inventory.written import device_create, interface_create, link_create, organised_create
from tenancy.models import Team
from tests.inventory import lines
from tests.inventory.lines import announce, both, link, node, withdraw
from tests.inventory.test_services import hear, states, sync


def written(names: str = "R1 R2") -> list[Device]:
    site = organised_create(model=Site, name="Haus")
    return [device_create(name=name, site=site, serial=f"serial of {name}") for name in names.split()]


def cabled(a: Device, z: Device, ends: tuple[str | None, str | None]) -> Link:
    ports = [
        interface_create(device=device, name="eth0", address=end) for device, end in zip((a, z), ends, strict=True)
    ]
    return link_create(a_interface=ports[0], z_interface=ports[1])


ENDS = ("10.1.2.0", "10.1.2.1")
NETWORK = [node(1), node(2), *both(1, 2)]


def test_node_interfaces_and_link_become_the_rows_that_were_written_down(source: TopologySource) -> None:
    a, z = written("r1 R2")
    kept = cabled(z, a, (ENDS[1], ENDS[0]))
    sync(source, *(announce(thing) for thing in NETWORK))
    a.refresh_from_db()
    assert (a.name, a.source, a.up, a.serial, a.router_id) == ("R1", source, True, "serial of r1", "10.255.0.1")
    assert a.igp_router_id == lines.system(1)
    assert a.site
    assert Device.objects.count() == Interface.objects.count() == 2
    kept.refresh_from_db()
    assert (kept.name, kept.state, kept.learned, kept.a_device, kept.z_device) == ("R1–R2", "up", True, a, z)
    assert kept.a_interface
    assert kept.a_interface.device == a
    assert set(Interface.objects.values_list("name", "learned")) == {("eth0", True)}
    assert set(HalfLink.objects.values_list("interface__name", "link")) == {("eth0", kept.pk)}
    hear(source, withdraw(both(1, 2)[0]))
    assert states() == {"R1–R2": "down"}
    kept.refresh_from_db()
    assert kept.pk == Link.objects.get().pk


def test_an_interface_is_known_by_the_name_that_learned_ones_have_too(source: TopologySource) -> None:
    a, z = written()
    near = interface_create(device=a, name=ENDS[0])
    far = interface_create(device=z, name="#7")
    sync(source, *(announce(thing) for thing in (*NETWORK, link(2, 1, ids=(7, 8)), link(1, 2, ids=(8, 7)))))
    near.refresh_from_db()
    assert (near.learned, near.address) == (True, ENDS[0])
    far.refresh_from_db()
    assert (far.learned, far.address) == (True, None)
    assert Interface.objects.count() == 4


def test_learned_links_say_at_which_interfaces_they_end(source: TopologySource) -> None:
    sync(source, *(announce(thing) for thing in (node(1), node(2), both(1, 2)[0])))
    found = Link.objects.get()
    assert (str(found.a_interface), found.z_interface) == (ENDS[0], None)
    hear(source, announce(both(1, 2)[1]))
    found.refresh_from_db()
    assert (str(found.a_interface), str(found.z_interface)) == ENDS
    hear(source, announce(node(1, "Z1")))
    found.refresh_from_db()
    assert (found.name, str(found.a_interface), str(found.z_interface)) == ("R2–Z1", *ENDS[::-1])


def test_a_node_that_tells_its_name_late_takes_over_what_was_written_down(source: TopologySource) -> None:
    a, z = written()
    cabled(a, z, ENDS)
    third = device_create(name="R3")
    beside = cabled_between(a, third)
    sync(source, *(announce(half) for half in both(1, 2)))
    assert Device.objects.count() == 5
    hear(source, announce(node(1)), announce(node(2)))
    assert sorted(Device.objects.values_list("name", flat=True)) == ["R1", "R2", "R3"]
    told = Device.objects.get(name="R1")
    assert (told.serial, told.up, str(told.site)) == ("serial of R1", True, "Haus")
    assert set(Interface.objects.filter(device=told).values_list("name", "address", "learned")) == {
        ("eth0", ENDS[0], True),
        ("eth9", None, False),
    }
    beside.refresh_from_db()
    assert (beside.a_device, beside.a_interface and beside.a_interface.device) == (told, told)
    assert states() == {"R1–R2": "up", "R1–R3": "unknown"}


def cabled_between(a: Device, z: Device) -> Link:
    return link_create(
        a_interface=interface_create(device=a, name="eth9"), z_interface=interface_create(device=z, name="eth9")
    )


def test_parallel_links_written_and_learned_are_told_apart(source: TopologySource) -> None:
    a, z = written()
    cabled_between(a, z)
    sync(source, *(announce(thing) for thing in NETWORK))
    assert states() == {"R1–R2 (eth9)": "unknown", f"R1–R2 ({ENDS[0]})": "up"}
    hear(source, announce(node(2, "A2")))
    assert states() == {"A2–R1 (eth9)": "unknown", f"A2–R1 ({ENDS[1]})": "up"}


def test_the_first_source_that_tells_of_it_has_it_and_takes_it_along(source: TopologySource, scope: Team) -> None:
    (device,) = written("R1")
    second = TopologySource.objects.create(name="second", host="127.0.0.1", run=1)
    sync(source, announce(node(1)))
    sync(second, announce(node(1)))
    assert set(Device.objects.values_list("source__name", "serial")) == {("lab", "serial of R1"), ("second", "")}
    source_delete(source=source)
    assert not Device.objects.filter(pk=device.pk).exists()


def test_another_teams_rows_are_not_adopted(source: TopologySource, other_team: Team) -> None:
    with team_scope(other_team.pk):
        a, z = written()
        theirs = cabled(a, z, ENDS)
    sync(source, *(announce(thing) for thing in NETWORK))
    assert Device.objects.filter(serial="").count() == 2
    with team_scope(other_team.pk):
        theirs.refresh_from_db()
        assert (theirs.state, Device.objects.filter(source=None).count()) == ("unknown", 2)


@given(order=st.integers(0, 10**6), size=st.integers(1, 9), addressed=st.sampled_from([(0, 1), (0,), (1,), ()]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_batches_end_in_one_row_each(
    order: int, size: int, addressed: tuple[int, ...], scope: Team
) -> None:
    savepoint = transaction.savepoint()
    a, z = written()
    cabled(a, z, tuple(end if index in addressed else None for index, end in enumerate(ENDS)))  # type: ignore[arg-type]
    source = TopologySource.objects.create(name="lab", host="127.0.0.1", run=1)
    told = [announce(thing) for thing in (*NETWORK, node(3), *both(2, 3))]
    random.Random(order).shuffle(told)
    said = [lines.up(), *told, lines.end_of_rib()]
    for start in range(0, len(said), size):
        rows = [TopologyUpdate(source=source, run=1, line=line) for line in said[start : start + size]]
        apply_updates(TopologySource.objects.get(), TopologyUpdate.objects.bulk_create(rows))
    assert set(Device.objects.values_list("name", "serial", "up")) == {
        ("R1", "serial of R1", True), ("R2", "serial of R2", True), ("R3", "", True),
    }  # fmt: skip
    learned = dict(Link.objects.filter(learned=True).values_list("name", "state"))
    assert set(learned.values()) == {"up"}
    assert len(learned) == 2
    # With both addresses it was the same link; with less nobody can know.
    assert Link.objects.count() == (2 if len(addressed) == 2 else 3)
    assert set(Interface.objects.filter(learned=True, name="eth0").values_list("address", flat=True)) == {
        ENDS[index] for index in addressed
    }
    transaction.savepoint_rollback(savepoint)
