"""What people write down: made, changed and deleted by the services, and kept apart from what the network told us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError

from core.scope import team_scope
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Endpoint,
    Interface,
    Link,
    Manufacturer,
    Platform,
    Site,
    Topology,
    TopologySource,
)
from inventory.services import endpoint_set
from inventory.written import (
    device_create,
    device_delete,
    device_named,
    device_update,
    endpoint_delete,
    endpoint_update,
    interface_create,
    interface_delete,
    interface_update,
    link_create,
    link_delete,
    link_update,
    organised_create,
    organised_delete,
    organised_update,
)
from tenancy.models import Team
from tests.inventory.lines import announce, both, node
from tests.inventory.test_services import sync


def field_of(error: pytest.ExceptionInfo[ValidationError]) -> str:
    (field,) = error.value.message_dict
    return field


@pytest.mark.parametrize("model", [Site, DeviceRole, Manufacturer, Platform])
def test_a_named_row_lives_and_dies(model: Any, scope: Team) -> None:
    row = organised_create(model=model, name="Haus 10")
    assert (row.slug, row.sort_key) == ("haus-10", "haus 0000000010")
    organised_update(row=row, name="Haus 2")
    assert (row.slug, row.sort_key) == ("haus-10", "haus 0000000002")
    organised_update(row=row, slug="h2")
    assert model.objects.get().slug == "h2"
    organised_delete(row=row)
    assert not model.objects.exists()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "Haus"}, "name"),
        ({"name": "Other", "slug": "haus"}, "slug"),
        ({"name": "北京"}, "slug"),
        ({"name": "a\nb"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "Good", "slug": "not a slug"}, "slug"),
    ],
)
def test_a_site_that_cannot_be_names_its_field(fields: dict[str, str], wrong: str, scope: Team) -> None:
    organised_create(model=Site, name="Haus")
    with pytest.raises(ValidationError) as error:
        organised_create(model=Site, **fields)
    assert field_of(error) == wrong
    assert Site.objects.count() == 1


def test_a_device_type_is_one_of_its_manufacturer(scope: Team) -> None:
    ours, theirs = (organised_create(model=Manufacturer, name=name) for name in ("Acme", "Ajax"))
    organised_create(model=DeviceType, name="X1", manufacturer=ours)
    organised_create(model=DeviceType, name="X1", manufacturer=theirs)
    with pytest.raises(ValidationError) as error:
        organised_create(model=DeviceType, name="X1", manufacturer=ours)
    assert "There is already a device type of Acme with the name 'X1'" in error.value.message_dict["name"][0]
    with pytest.raises(ValidationError) as error:
        organised_create(model=DeviceType, name="X1")
    assert field_of(error) == "manufacturer"
    with pytest.raises(ProtectedError):
        organised_delete(row=ours)


def test_the_same_name_in_another_team_is_no_obstacle(scope: Team, other_team: Team) -> None:
    organised_create(model=Site, name="Haus")
    device_create(name="R1")
    with team_scope(other_team.pk):
        organised_create(model=Site, name="Haus")
        device_create(name="R1")
        assert Device.objects.count() == Site.objects.count() == 1


def test_a_device_lives_with_its_interfaces_and_links(scope: Team) -> None:
    site = organised_create(model=Site, name="Haus")
    a = device_create(name="R1", site=site, serial=" S1 ", router_id="", status="planned")
    z = device_create(name="R2", router_id="10.0.0.2")
    a.refresh_from_db()
    assert (a.source, a.serial, a.router_id, a.status, a.site) == (None, "S1", None, "planned", site)
    near = interface_create(device=a, name="eth0", address="10.1.0.1")
    link = link_create(a_interface=near, z_interface=interface_create(device=z, name="eth1"))
    assert (link.name, link.state, link.learned) == ("R1–R2", "unknown", False)
    device_update(device=a, name="R10")
    link.refresh_from_db()
    assert (link.name, link.sort_key) == ("R10–R2", "r0000000010–r0000000002")
    with pytest.raises(ProtectedError):
        organised_delete(row=site)
    device_update(device=a, site=None)
    organised_delete(row=site)
    device_delete(device=a)
    assert not Link.objects.exists()
    assert Interface.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "r1"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "R2", "router_id": "10.0.0.256"}, "router_id"),
        ({"name": "R2", "status": "gone"}, "status"),
        ({"name": "R2", "serial": "a\tb"}, "serial"),
        ({"name": "R2", "serial": "x" * 61}, "serial"),
    ],
)
def test_a_device_that_cannot_be_names_its_field(fields: dict[str, str], wrong: str, scope: Team) -> None:
    device_create(name="R1")
    with pytest.raises(ValidationError) as error:
        device_create(**fields)
    assert field_of(error) == wrong
    with pytest.raises(TypeError):
        device_create(name="R3", source=None)


def test_a_foreign_site_is_not_found(scope: Team, other_team: Team) -> None:
    with team_scope(other_team.pk):
        foreign = organised_create(model=Site, name="Haus")
    with pytest.raises(ValidationError) as error:
        device_create(name="R1", site=foreign)
    assert field_of(error) == "site"


def test_interfaces_are_one_of_a_name_a_device(scope: Team) -> None:
    a, z = device_create(name="R1"), device_create(name="R2")
    port = interface_create(device=a, name="eth0")
    interface_create(device=z, name="eth0")
    with pytest.raises(ValidationError) as error:
        interface_create(device=a, name=" eth0 ")
    assert field_of(error) == "name"
    with pytest.raises(ValidationError) as error:
        interface_update(interface=port, device=z)
    assert field_of(error) == "device"
    with pytest.raises(ValidationError) as error:
        interface_update(interface=port, address="300.0.0.1")
    assert field_of(error) == "address"
    interface_update(interface=Interface.objects.get(pk=port.pk), address="2001:DB8::1", name="eth9", device=a)
    port.refresh_from_db()
    assert (port.name, port.address) == ("eth9", "2001:db8::1")
    interface_update(interface=port, address="")
    assert Interface.objects.get(pk=port.pk).address is None


def test_links_join_two_devices_once(scope: Team) -> None:
    ports = [interface_create(device=device_create(name=name), name="eth0") for name in ("R1", "R2", "R3")]
    more = interface_create(device=ports[0].device, name="eth1")
    link = link_create(a_interface=ports[0], z_interface=ports[1])
    for ends in (ports[1], ports[0]), (ports[0], more):
        with pytest.raises(ValidationError) as error:
            link_create(a_interface=ends[0], z_interface=ends[1])
        assert field_of(error) == "z_interface"
    parallel = link_create(a_interface=more, z_interface=interface_create(device=ports[1].device, name="eth1"))
    assert parallel.name == "R1–R2 (eth1)"
    link_update(link=link, z_interface=ports[2])
    link.refresh_from_db()
    assert (link.name, link.z_device) == ("R1–R3", ports[2].device)
    with pytest.raises(ValidationError):
        link_update(link=link, a_interface=more, z_interface=parallel.z_interface)
    link_delete(link=link)
    interface_delete(interface=more)
    assert not Link.objects.exists()


def test_what_the_network_says_is_kept_from_hands(source: TopologySource) -> None:
    sync(source, *(announce(thing) for thing in (node(1), node(2), *both(1, 2))))
    device, interface, link = Device.objects.get(name="R1"), Interface.objects.first(), Link.objects.get()
    assert interface
    site = organised_create(model=Site, name="Haus")
    refused: list[Callable[[], object]] = [
        lambda: device_update(device=device, name="R9"),
        lambda: device_update(device=device, router_id="10.9.9.9"),
        lambda: device_delete(device=device),
        lambda: interface_update(interface=interface, name="eth0"),
        lambda: interface_update(interface=interface, address=None),
        lambda: interface_delete(interface=interface),
        lambda: link_update(link=link, z_interface=interface_create(device=device, name="eth1")),
        lambda: link_delete(link=link),
        lambda: device_create(name="r1"),
    ]
    for change in refused:
        with pytest.raises(ValidationError):
            change()
    device_update(device=device, name="R1", site=site, serial="S1", status="staged")
    device.refresh_from_db()
    assert (device.name, device.site, device.serial, device.status) == ("R1", site, "S1", "staged")
    assert (Interface.objects.filter(learned=True).count(), Link.objects.get().state) == (2, "up")
    interface_update(interface=interface, name=interface.name)
    link_update(link=link)


def test_endpoints_move_and_go_and_the_paths_follow(scope: Team) -> None:
    end = endpoint_set(name="dev1", address="10.9.0.1")
    endpoint_set(name="dev2", address="10.9.0.2")
    endpoint_update(endpoint=end, name="dev9", address="10.9.0.9")
    assert (Endpoint.objects.get(pk=end.pk).sort_key, Topology.objects.get().version) == ("dev0000000009", 3)
    with pytest.raises(ValidationError) as error:
        endpoint_update(endpoint=end, name="dev2")
    assert field_of(error) == "name"
    with pytest.raises(ValidationError) as error:
        endpoint_update(endpoint=Endpoint.objects.get(pk=end.pk), address="nowhere")
    assert field_of(error) == "address"
    endpoint_delete(endpoint=end)
    assert (Endpoint.objects.get().name, Topology.objects.get().version) == ("dev2", 4)


def test_a_device_is_found_whatever_its_case_and_the_written_down_one_first(source: TopologySource) -> None:
    sync(source, announce(node(1)))
    learned = Device.objects.get()
    assert device_named("r1") == learned
    assert device_named("R01") is None
    assert device_named("R1", exclude=learned.pk) is None
