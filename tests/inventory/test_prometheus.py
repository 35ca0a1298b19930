"""`/api/prometheus/targets/`: the team's devices in the form that Prometheus' http_sd reads."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.scope import team_scope
from inventory.models import Device, DeviceRole, Interface, Platform, Site, TopologySource, sorted_name
from tenancy.models import Team
from tenancy.services import token_create

URL = "/api/prometheus/targets/"
# https://prometheus.io/docs/prometheus/latest/http_sd/: what Prometheus unmarshals.
HTTP_SD = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["targets", "labels"],
        "properties": {
            "targets": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            "labels": {
                "type": "object",
                "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
                "additionalProperties": {"type": "string"},
            },
        },
    },
}


@pytest.fixture
def stocked(team: Team, other_team: Team) -> None:
    now = timezone.now()
    with team_scope(other_team.pk):
        Device.objects.create(**sorted_name("blue-1"), router_id="203.0.113.1", changed=now)
    with team_scope(team.pk):
        source = TopologySource.objects.create(name="reflector", host="192.0.2.7")
        north, south = (Site.objects.create(**sorted_name(name), slug=name.lower()) for name in ("North", "South"))
        core = DeviceRole.objects.create(**sorted_name("Core"), slug="core")
        junos = Platform.objects.create(**sorted_name("Junos"), slug="junos")
        for number, site in ((10, north), (2, north), (1, south)):
            Device.objects.create(
                **sorted_name(f"R{number}"), source=source, key=f"R{number}", router_id=f"10.0.0.{number}", site=site,
                role=core, platform=junos, up=number != 2, changed=now,
            )  # fmt: skip
        six = Device.objects.create(**sorted_name("six"), site=south, status="planned", changed=now)
        for name, address in (("eth0", None), ("eth1", "2001:db8::6"), ("eth2", "10.0.9.9")):
            Interface.objects.create(device=six, name=name, address=address)
        bare = Device.objects.create(**sorted_name("bare"), changed=now)
        Interface.objects.create(device=bare, name="eth0")


def ask(client: Client, query: str = "") -> Any:
    answer = client.get(URL + query)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/json"
    found = json.loads(answer.content)
    jsonschema.validate(found, HTTP_SD)
    return found


def targets(client: Client, query: str = "") -> list[str]:
    return [target for group in ask(client, query) for target in group["targets"]]


def test_devices_with_an_address_in_the_order_of_their_names(bob_client: Client, stocked: None) -> None:
    assert targets(bob_client) == ["10.0.0.1", "10.0.0.2", "10.0.0.10", "[2001:db8::6]"]


def test_the_labels_say_what_is_known_of_the_device(bob_client: Client, stocked: None, team: Team) -> None:
    groups = {group["labels"]["__meta_netops_device"]: group["labels"] for group in ask(bob_client)}
    with team_scope(team.pk):
        ids = {device.name: str(device.pk) for device in Device.objects.all()}
    assert groups["R2"] == {
        "__meta_netops_team": "red", "__meta_netops_device": "R2", "__meta_netops_device_id": ids["R2"],
        "__meta_netops_address": "10.0.0.2", "__meta_netops_status": "active", "__meta_netops_up": "false",
        "__meta_netops_site": "north", "__meta_netops_role": "core", "__meta_netops_platform": "junos",
        "__meta_netops_device_type": "",
    }  # fmt: skip
    assert groups["R1"]["__meta_netops_up"] == "true"
    written_down = groups["six"]
    assert (written_down["__meta_netops_up"], written_down["__meta_netops_status"]) == ("", "planned")
    assert written_down["__meta_netops_address"] == "2001:db8::6"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?site=north", ["10.0.0.2", "10.0.0.10"]),
        ("?site=north&site=south", ["10.0.0.1", "10.0.0.2", "10.0.0.10", "[2001:db8::6]"]),
        ("?site=nowhere", []),
        ("?role=core&site=south", ["10.0.0.1"]),
        ("?platform=junos&status=active", ["10.0.0.1", "10.0.0.2", "10.0.0.10"]),
        ("?status=planned&port=9100", ["[2001:db8::6]:9100"]),
        ("?site=south&port=0161", ["10.0.0.1:161", "[2001:db8::6]:161"]),
    ],
)
def test_filters_narrow_it(bob_client: Client, stocked: None, query: str, found: list[str]) -> None:
    assert targets(bob_client, query) == found


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "1e3", "²", "9" * 30])
def test_what_is_not_a_port_is_named(bob_client: Client, stocked: None, port: str) -> None:
    answer = bob_client.get(URL, {"port": port})
    assert answer.status_code == 400
    assert "port" in answer.json()


def test_an_unknown_filter_and_an_unknown_status_are_named(bob_client: Client, stocked: None) -> None:
    for query, field in (("?sites=north", "sites"), ("?status=onfire", "status"), ("?site=%00", "site")):
        answer = bob_client.get(URL + query)
        assert answer.status_code == 400, query
        assert field in answer.json()


def test_another_team_has_its_own(charlie_client: Client, stocked: None) -> None:
    assert targets(charlie_client) == ["203.0.113.1"]
    assert targets(charlie_client, "?site=north") == []


def test_prometheus_comes_with_a_token(client: Client, stocked: None, team: Team) -> None:
    token = token_create(team=team, role="viewer")
    for kind in ("Bearer", "Token"):
        headers = {"Authorization": f"{kind} {token}", "Accept": "application/json"}
        answer = client.get(URL, headers=headers)
        assert answer.status_code == 200
        assert len(json.loads(answer.content)) == 4
    assert client.get(URL).status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_for_reading(alice_client: Client, stocked: None, method: str) -> None:
    assert getattr(alice_client, method)(URL).status_code == 405


def test_the_number_of_queries_does_not_grow(bob_client: Client, stocked: None, team: Team) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as seen:
            targets(bob_client)
        return len(seen.captured_queries)

    before = count()
    with team_scope(team.pk):
        for number in range(30):
            device = Device.objects.create(**sorted_name(f"X{number}"), changed=timezone.now())
            Interface.objects.create(device=device, name="eth0", address=f"10.1.0.{number}")
    assert count() == before
    assert len(targets(bob_client)) == 34
