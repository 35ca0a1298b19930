"""NetBox's API over our inventory, as pynetbox and Ansible's nb_inventory see it: unmodified clients, a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pynetbox
import pytest
import requests
from django.test import Client
from django.utils import timezone

from core.scope import team_scope
from inventory.models import (
    Device,
    DeviceRole,
    DeviceType,
    Interface,
    Link,
    Manufacturer,
    Platform,
    Prefix,
    Site,
    sorted_name,
)
from inventory.netbox import VERSION
from inventory.netbox.addresses import ROUTER
from inventory.written import device_create, interface_create, link_create, organised_create
from tenancy.models import Team
from tenancy.services import member_set, token_create
from tests.rows import lab_rows
from tests.web import web_server


@pytest.fixture
def written(transactional_db: None, team: Team) -> Team:
    """The red team's lab of six routers, and two devices that were written down, cabled to each other."""
    with team_scope(team.pk):
        lab_rows()
        site = organised_create(model=Site, name="Haus 1")
        role = organised_create(model=DeviceRole, name="Edge")
        maker = organised_create(model=Manufacturer, name="Acme")
        kind = organised_create(model=DeviceType, name="X1", manufacturer=maker)
        platform = organised_create(model=Platform, name="FRR")
        more = {"site": site, "role": role, "device_type": kind, "platform": platform}
        a = device_create(name="sw1", serial="S1", router_id="10.77.0.1", **more)
        z = device_create(name="sw2", status="planned", router_id="2001:db8::2")
        ports = [interface_create(device=a, name="eth0", address="10.7.0.1"), interface_create(device=z, name="eth1")]
        link_create(a_interface=ports[0], z_interface=ports[1])
        Device.objects.filter(name="R1").update(site=site)
    return team


@pytest.fixture
def token(written: Team) -> str:
    return token_create(team=written, role="viewer")


@pytest.fixture
def address(written: Team) -> Iterator[str]:
    with web_server() as address:
        yield address


@pytest.fixture
def netbox(address: str, token: str) -> pynetbox.core.api.Api:
    return pynetbox.api(f"{address}/netbox", token=token)


def test_pynetbox_asks_who_is_there(netbox: Any) -> None:
    assert netbox.version == "4.4"
    assert netbox.status()["netbox-version"] == VERSION
    assert "/api/dcim/devices/" in netbox.openapi()["paths"]


def test_pynetbox_gets_one(netbox: Any, address: str) -> None:
    device = netbox.dcim.devices.get(name="sw1")
    assert (str(device), device.serial, device.status.value, device.status.label) == ("sw1", "S1", "active", "Active")
    assert (device.site.name, device.site.slug, device.role.name, device.platform.slug) == (
        "Haus 1",
        "haus-1",
        "Edge",
        "frr",
    )
    assert (device.device_type.model, device.device_type.manufacturer.name) == ("X1", "Acme")
    assert str(device.device_type) == "X1"
    assert device.tenant.slug == "red"
    assert str(device.primary_ip) == str(device.primary_ip4) == "10.77.0.1/32"
    assert device.primary_ip6 is None
    assert device.url == f"{address}/netbox/api/dcim/devices/{device.id}/"
    again = netbox.dcim.devices.get(device.id)
    assert again == device
    assert dict(again)["custom_fields"] == {}
    assert netbox.dcim.devices.get(999_999) is None
    assert netbox.dcim.devices.get(name="nobody") is None
    assert netbox.dcim.devices.get(name="sw2").primary_ip.family.value == 6
    # What a brief object lacks is fetched from its url.
    assert netbox.dcim.interfaces.get(name="eth0", device="sw1").device.serial == "S1"
    assert netbox.dcim.devices.get(name="sw1").primary_ip.assigned_object.device.name == "sw1"


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "sw1"}, ["sw1"]),
    ({"name": ["sw1", "R2"]}, ["R2", "sw1"]),
    ({"name__ic": "SW"}, ["sw1", "sw2"]),
    ({"name__isw": "r"}, ["R1", "R2", "R3", "R4", "R5", "R6"]),
    ({"name__nisw": "r"}, ["sw1", "sw2"]),
    ({"name__n": ["R1", "R2", "R3", "sw1"]}, ["R4", "R5", "R6", "sw2"]),
    ({"site": "haus-1"}, ["R1", "sw1"]),
    ({"site": "nowhere"}, []),
    ({"site": ["haus-1", "nowhere"], "role": "edge"}, ["sw1"]),
    ({"role__n": "edge", "name__ic": "sw"}, ["sw2"]),
    ({"status": "planned"}, ["sw2"]),
    ({"status": ["planned", "active"], "name__ic": "sw"}, ["sw1", "sw2"]),
    ({"manufacturer": "acme"}, ["sw1"]),
    ({"device_type": "x1"}, ["sw1"]),
    ({"model": "x1"}, ["sw1"]),
    ({"platform": "frr"}, ["sw1"]),
    ({"serial": "S1"}, ["sw1"]),
    ({"tenant": "red", "name": "R6"}, ["R6"]),
    ({"tenant": "blue"}, []),
    ({"region": "europe"}, []),
    ({"rack_id": 1}, []),
    ({"tag": "core"}, []),
    ({"has_primary_ip": True, "name__ic": "sw"}, ["sw1", "sw2"]),
    ({"has_primary_ip": False}, []),
    ({"q": "S1"}, ["sw1"]),
]


def test_pynetbox_filters_and_counts(netbox: Any) -> None:
    for asked, found in FILTERS:
        assert [device.name for device in netbox.dcim.devices.filter(strict_filters=True, **asked)] == found, asked
        assert netbox.dcim.devices.count(**asked) == len(found), asked


def test_pynetbox_searches_in_one_word(netbox: Any) -> None:
    assert [device.name for device in netbox.dcim.devices.filter("sw")] == ["sw1", "sw2"]
    assert [site.name for site in netbox.dcim.sites.filter("haus")] == ["Haus 1"]


def test_an_unknown_filter_is_an_error_and_not_everything(netbox: Any) -> None:
    with pytest.raises(pynetbox.RequestError, match="There is no filter 'sight'"):
        list(netbox.dcim.devices.filter(sight="haus-1"))
    with pytest.raises(pynetbox.ParameterValidationError):
        netbox.dcim.devices.filter(sight="haus-1", strict_filters=True)
    with pytest.raises(pynetbox.RequestError):
        list(netbox.ipam.ip_addresses.filter(sight="x"))


def test_pynetbox_pages_through_all(written: Team, netbox: Any) -> None:
    with team_scope(written.pk):
        now = timezone.now()
        Device.objects.bulk_create(Device(**sorted_name(f"edge{number}"), changed=now) for number in range(2500))
    found = netbox.dcim.devices.all()
    assert len(found) == 2508
    names = [device.name for device in found]
    assert len(names) == len(set(names)) == 2508
    assert [device.name for device in netbox.dcim.devices.filter(name__ic="edge", limit=1000)][-1] == "edge2499"
    assert [device.name for device in netbox.dcim.devices.all(limit=2, offset=1)] == ["edge1", "edge2"]
    threaded = pynetbox.api(netbox.base_url.removesuffix("/api"), token=netbox.token, threading=True)
    assert len({device.id for device in threaded.dcim.devices.all(limit=500)}) == 2508


def test_limit_0_means_the_largest_page(written: Team, address: str, token: str) -> None:
    with team_scope(written.pk):
        now = timezone.now()
        Device.objects.bulk_create(Device(**sorted_name(f"edge{number}"), changed=now) for number in range(1200))
    headers = {"Authorization": f"Token {token}"}
    first = requests.get(f"{address}/netbox/api/dcim/devices/?limit=0", headers=headers, timeout=30)
    assert first.headers["API-Version"] == "4.4"
    page = first.json()
    assert (len(page["results"]), page["count"], page["previous"]) == (1000, 1208, None)
    assert page["next"].startswith(f"{address}/netbox/api/dcim/devices/?")
    second = requests.get(page["next"], headers=headers, timeout=30).json()
    assert (len(second["results"]), second["next"]) == (208, None)


def test_interfaces_cables_and_addresses_in_pynetbox(netbox: Any) -> None:
    port = netbox.dcim.interfaces.get(device="sw1", name="eth0")
    assert (port.type.value, port.enabled, port.count_ipaddresses, port.cable_end) == ("other", True, 1, "A")
    cable = netbox.dcim.cables.get(port.cable.id)
    assert (cable.label, cable.status.value) == ("sw1–sw2", "connected")
    assert [(end.name, end.device.name) for end in (*cable.a_terminations, *cable.b_terminations)] == [
        ("eth0", "sw1"),
        ("eth1", "sw2"),
    ]
    assert [each.label for each in netbox.dcim.cables.filter(device="sw2")] == ["sw1–sw2"]
    assert len(netbox.dcim.cables.filter(device="R1")) == 2
    assert [each.name for each in netbox.dcim.interfaces.filter(cabled=True)] == ["eth0", "eth1"]
    assert len(netbox.dcim.interfaces.filter(device=["R1", "sw1"])) == 3
    ip = netbox.ipam.ip_addresses.get(address="10.7.0.1")
    assert (str(ip), ip.assigned_object.name, ip.assigned_object.device.name, ip.assigned_object_type) == (
        "10.7.0.1/32", "eth0", "sw1", "dcim.interface",
    )  # fmt: skip
    assert ip.assigned_object_id == port.id
    assert [str(each) for each in netbox.ipam.ip_addresses.filter(device="sw1")] == ["10.7.0.1/32", "10.77.0.1/32"]
    assert [str(each) for each in netbox.ipam.ip_addresses.filter(family=6)] == ["2001:db8::2/128"]
    assert [str(each) for each in netbox.ipam.ip_addresses.filter("10.77.")] == ["10.77.0.1/32"]
    router = netbox.ipam.ip_addresses.get(address="10.77.0.1/32")
    assert router.id > ROUTER
    assert netbox.ipam.ip_addresses.get(router.id) == router
    assert netbox.ipam.ip_addresses.get(ROUTER + 999_999) is None
    assert len(netbox.ipam.ip_addresses.all()) == 16 + 6 + 3
    assert len({each.id for each in netbox.ipam.ip_addresses.all(limit=7)}) == 25


def test_the_other_lists_in_pynetbox(netbox: Any) -> None:
    (site,) = netbox.dcim.sites.all()
    assert (site.device_count, site.status.value, site.region) == (2, "active", None)
    (role,) = netbox.dcim.device_roles.all()
    assert (role.slug, role.device_count) == ("edge", 1)
    (maker,) = netbox.dcim.manufacturers.filter(slug="acme")
    assert maker.devicetype_count == 1
    (kind,) = netbox.dcim.device_types.filter(manufacturer="acme")
    assert (kind.model, kind.device_count) == ("X1", 1)
    (platform,) = netbox.dcim.platforms.filter(name__ie="frr")
    assert platform.device_count == 1
    (tenant,) = netbox.tenancy.tenants.all()
    assert (tenant.name, tenant.slug) == ("Red team", "red")
    assert {each.prefix for each in netbox.ipam.prefixes.all()} == {"20.0.0.2/32", "20.0.0.6/32"}
    for empty in (netbox.dcim.racks, netbox.dcim.regions, netbox.extras.tags, netbox.virtualization.virtual_machines,
                  netbox.circuits.circuits, netbox.users.users, netbox.ipam.vlans):  # fmt: skip
        assert list(empty.all()) == []
        assert empty.count() == 0
        assert empty.get(1) is None


def test_prefixes_are_at_the_site_of_their_device(written: Team, netbox: Any) -> None:
    with team_scope(written.pk):
        of_site = Prefix.objects.filter(device__name="R1")
        wanted = sorted(of_site.values_list("prefix", flat=True))
    assert wanted
    found = netbox.ipam.prefixes.filter(site="haus-1")
    assert sorted(each.prefix for each in found) == wanted
    (site,) = netbox.dcim.sites.all()
    assert site.prefix_count == len(wanted)
    one = next(iter(netbox.ipam.prefixes.filter(site="haus-1")))
    assert (one.scope_type, one.scope_id, one.family.value) == ("dcim.site", site.id, 4)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("role", ["viewer", "owner"])
@pytest.mark.parametrize(
    "path", ["dcim/devices/", "dcim/devices/1/", "ipam/ip-addresses/", "dcim/racks/", "status/", ""]
)
def test_nothing_can_be_written(method: str, role: str, path: str, team: Team, client: Client) -> None:
    headers = {"Authorization": f"Token {token_create(team=team, role=role)}"}
    answer = getattr(client, method)(f"/netbox/api/{path}", headers=headers, content_type="application/json")
    assert answer.status_code == 405


def test_it_is_closed_like_the_api(
    team: Team, other_team: Team, alice: Any, client: Client, charlie_client: Client
) -> None:
    with team_scope(team.pk):
        device = device_create(name="secret-r1", router_id="10.1.1.1")
        interface = interface_create(device=device, name="eth0", address="10.1.1.2")
    paths = [
        "dcim/devices/", f"dcim/devices/{device.pk}/", "dcim/interfaces/", f"dcim/interfaces/{interface.pk}/",
        f"dcim/interfaces/{ROUTER + device.pk}/", "ipam/ip-addresses/", f"ipam/ip-addresses/{interface.pk}/",
        f"ipam/ip-addresses/{ROUTER + device.pk}/", "dcim/cables/", "tenancy/tenants/",
        f"tenancy/tenants/{team.pk}/", "dcim/devices/?q=secret", "dcim/devices/?name=secret-r1", "dcim/", "status/",
    ]  # fmt: skip
    for path in paths:
        assert client.get(f"/netbox/api/{path}").status_code == 401, path
        answer = charlie_client.get(f"/netbox/api/{path}")
        assert b"secret" not in answer.content.replace(b"q=secret", b""), path
        assert b"10.1.1" not in answer.content, path
        assert answer.status_code == (404 if path.rstrip("/").rsplit("/")[-1].isdecimal() else 200), path
    member_set(team=other_team, user=alice, role="viewer")
    client.force_login(alice)
    assert client.get("/netbox/api/dcim/devices/").status_code == 400
    assert client.get("/netbox/api/dcim/devices/", headers={"X-Team": "red"}).json()["count"] == 1
    assert client.get("/netbox/api/dcim/devices/", headers={"X-Team": "blue"}).json()["count"] == 0


def test_the_schema_is_open_and_names_no_row(client: Client, team: Team) -> None:
    with team_scope(team.pk):
        device_create(name="secret-r1")
    answer = client.get("/netbox/api/schema/?format=json")
    assert answer.status_code == 200
    assert b"secret" not in answer.content
    paths = answer.json()["paths"]
    names = {each["name"] for each in paths["/netbox/api/dcim/devices/"]["get"]["parameters"]}
    assert {"name", "site", "role", "status", "tag", "q", "limit", "site_id", "name__ic"} <= names
    assert paths["/netbox/api/virtualization/virtual-machines/"]["get"]["parameters"]
    assert client.get("/netbox/api/").json()["dcim"].endswith("/netbox/api/dcim/")
    assert client.get("/netbox/api/nonsense/").status_code == 401


@pytest.mark.parametrize(
    "query",
    ["id=99999999999999999999", "id=x", "family=5", "device_id=１", "limit=x", "offset=-1", "address=nonsense",
     "assigned_to_interface=perhaps", "brief=perhaps"],
)  # fmt: skip
def test_bad_questions_about_addresses_name_the_parameter(query: str, team: Team, client: Client) -> None:
    headers = {"Authorization": f"Token {token_create(team=team, role='viewer')}"}
    answer = client.get(f"/netbox/api/ipam/ip-addresses/?{query}", headers=headers)
    assert (answer.status_code, list(answer.json())) == (400, [query.partition("=")[0]])
    with team_scope(team.pk):
        assert not Interface.objects.exists()
        assert not Link.objects.exists()


class NbInventory:
    """The requests of Ansible's nb_inventory 3.22 with everything switched on, and what it reads of the answers."""

    def __init__(self, endpoint: str, token: str) -> None:
        self.endpoint, self.headers = endpoint, {"Authorization": f"Token {token}"}

    def one(self, path: str) -> Any:
        answer = requests.get(self.endpoint + path, headers=self.headers, timeout=30, allow_redirects=False)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def every(self, path: str) -> list[Any]:
        found, following = [], path
        while following:
            page = self.one(following.removeprefix(self.endpoint))
            found += page["results"]
            following = page["next"]
        return found

    def slugs(self, path: str) -> dict[int, str]:
        return {row["id"]: row["slug"] for row in self.every(f"{path}?limit=0")}


def test_nb_inventory_finds_what_it_reads(written: Team, address: str, token: str) -> None:
    plugin = NbInventory(f"{address}/netbox", token)
    assert plugin.one("/api/status/")["netbox-version"].split(".")[:2] == ["4", "4"]
    schema = plugin.one("/api/schema/?format=json")
    assert schema["info"]["version"].split(".")[:2] == ["4", "4"]
    allowed = {
        name: {each["name"] for each in schema["paths"][f"/netbox/api/{name}/"]["get"]["parameters"]}
        for name in ("dcim/devices", "virtualization/virtual-machines")
    }
    assert all("has_primary_ip" in each for each in allowed.values())
    devices = plugin.every("/api/dcim/devices/?limit=0&has_primary_ip=True&exclude=config_context")
    assert plugin.every("/api/virtualization/virtual-machines/?limit=0&exclude=config_context") == []
    sites = {row["id"]: row for row in plugin.every("/api/dcim/sites/?limit=0")}
    assert {
        row["slug"]: (row["prefix_count"], row["region"], row["group"], row["time_zone"]) for row in sites.values()
    } == {"haus-1": (1, None, None, None)}
    for empty in ("dcim/regions", "dcim/site-groups", "dcim/locations", "dcim/racks", "dcim/rack-groups",
                  "virtualization/clusters", "virtualization/virtual-disks", "virtualization/interfaces",
                  "ipam/services"):  # fmt: skip
        assert plugin.every(f"/api/{empty}/?limit=0") == []
    tenants, roles, platforms = (
        plugin.slugs(f"/api/{path}/") for path in ("tenancy/tenants", "dcim/device-roles", "dcim/platforms")
    )
    types, makers = plugin.slugs("/api/dcim/device-types/"), plugin.slugs("/api/dcim/manufacturers/")
    interfaces = plugin.every("/api/dcim/interfaces/?limit=0")
    ports: dict[int, list[Any]] = {}
    for port in interfaces:
        assert port["count_ipaddresses"] in (0, 1)
        assert port["tags"] == []
        ports.setdefault(port["device"]["id"], []).append(port)
    addresses = plugin.every("/api/ipam/ip-addresses/?limit=0&assigned_to_interface=true")
    names = {row["id"]: row["dns_name"] for row in addresses if row["assigned_object_id"]}
    prefixes = [row for row in plugin.every("/api/ipam/prefixes") if row["scope_type"] == "dcim.site"]
    assert [row["scope"]["id"] for row in prefixes] == list(sites)
    by_name = {device["name"]: device for device in devices}
    assert len(by_name) == 8
    for device in devices:
        assert device["config_context"] == {}
        assert device["custom_fields"] == {}
        assert device["tags"] == []
        assert device["virtual_chassis"] is None
        assert tenants[device["tenant"]["id"]] == "red"
        assert names[device["primary_ip"]["id"]] == ""  # with dns_name it looks its primary address up
    host = by_name["sw1"]
    assert (sites[host["site"]["id"]]["slug"], roles[host["role"]["id"]]) == ("haus-1", "edge")
    assert (platforms[host["platform"]["id"]], types[host["device_type"]["id"]]) == ("frr", "x1")
    assert makers[host["device_type"]["manufacturer"]["id"]] == "acme"
    assert (host["status"]["value"], host["primary_ip4"]["address"]) == ("active", "10.77.0.1/32")
    (port,) = ports[host["id"]]
    assert [row["address"] for row in addresses if row["assigned_object_id"] == port["id"]] == ["10.7.0.1/32"]
    some = [str(device["id"]) for device in devices][:3]
    chunk = plugin.every("/api/dcim/interfaces/?limit=0&device_id=" + "&device_id=".join(some))
    assert {str(row["device"]["id"]) for row in chunk} <= set(some)
    chunk = plugin.every(f"/api/ipam/ip-addresses/?limit=0&assigned_to_interface=true&device_id={host['id']}")
    assert {row["address"] for row in chunk} == {"10.7.0.1/32", "10.77.0.1/32"}
    assert plugin.every("/api/ipam/services/?limit=0&parent_object_id=1&parent_object_id=2") == []
