"""The way in from a NetBox: from our own facade into another team, and from a stand-in with shapes we never make."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management import CommandError, call_command

from core.scope import team_scope
from inventory.models import Device, DeviceType, Interface, Link, Manufacturer, Site, sorted_name
from inventory.written import device_create, organised_create
from tenancy.models import Team
from tenancy.services import token_create
from tests.inventory.test_netbox import written
from tests.web import web_server

__all__ = ["written"]


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]


def call(*arguments: str) -> str:
    out = io.StringIO()
    call_command("import_netbox", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def picture() -> dict[str, Any]:
    """What a team has, by names."""
    links = Link.objects.values_list("a_device__name", "a_interface__name", "z_device__name", "z_interface__name")
    fields = (
        "name",
        "status",
        "site__slug",
        "role__slug",
        "device_type__slug",
        "platform__slug",
        "serial",
        "router_id",
    )
    return {
        "devices": sorted(Device.objects.values_list(*fields, "router_id"), key=str),
        "interfaces": sorted(Interface.objects.values_list("device__name", "name", "address"), key=str),
        "links": sorted(links, key=str),
        "makers": sorted(Manufacturer.objects.values_list("name", "slug")),
    }


def test_from_one_team_into_another(
    written: Team, other_team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with team_scope(written.pk):
        for link in Link.objects.filter(a_interface=None):
            ports = [half.interface for half in link.half_links.order_by("id")]
            Link.objects.filter(pk=link.pk).update(a_interface=ports[0], z_interface=ports[1])
        wanted = picture()
    assert len(wanted["links"]) == 9
    token = token_create(team=written, role="viewer")
    (tmp_path / "token").write_text(f"{token}\n")
    with web_server() as address:
        arguments = (f"{address}/netbox", "--team", "blue", "--token-file", str(tmp_path / "token"))
        said = call(*arguments, "--dry-run")
        assert "+ device sw1: name 'sw1', status 'active', site 'Haus 1'" in said
        assert "this was a dry run" in said
        with team_scope(other_team.pk):
            assert not Device.objects.exists()
            assert not Site.objects.exists()
        said = call(*arguments)
        assert "devices: 8 new, 0 changed, 0 unchanged" in said
        assert "links: 9 new" in said
        with team_scope(other_team.pk):
            assert picture() == wanted
            assert not Device.objects.exclude(source=None).exists()
        assert "Nothing to do" in call(*arguments)
        with team_scope(written.pk):
            Device.objects.filter(name="sw1").update(serial="S9", site=None)
            Site.objects.update(name="House one")
        monkeypatch.setenv("NETBOX_TOKEN", token)
        said = call(f"{address}/netbox/api/", "--team", "blue")
        assert "~ device sw1: site 'House one' → '', serial 'S1' → 'S9'" in said
        assert "~ site House one: name 'Haus 1' → 'House one'" in said
        assert "links: 0 new, 0 changed, 9 unchanged" in said


class StandIn:
    """Answers like a NetBox 4.4 with lists of ours, in pages of at most `page`; keeps what it was asked."""

    def __init__(self, lists: dict[str, list[dict[str, Any]]], page: int = 1000, status: int = 200) -> None:
        self.lists, self.page, self.status = lists, page, status
        self.asked: list[tuple[str, str | None]] = []

    @contextmanager
    def served(self) -> Iterator[str]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                stand_in.asked.append((self.path, self.headers["Authorization"]))
                query = {name: int(values[0]) for name, values in parse_qs(parts.query).items() if name != "ordering"}
                rows = stand_in.lists.get(parts.path.removeprefix("/api/").strip("/"), [])
                limit = min(query["limit"], stand_in.page)
                page = rows[query["offset"] : query["offset"] + limit]
                body = json.dumps({"count": len(rows), "next": "http://10.0.0.1/", "results": page}).encode()
                self.send_response(stand_in.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


def named(pk: int, name: str) -> dict[str, Any]:
    return {"id": pk, "name": name, "slug": name.lower(), "display": name}


def device(pk: int, name: str | None, **more: Any) -> dict[str, Any]:
    kind = {"id": 1, "model": "X1", "slug": "x1", "manufacturer": named(1, "Acme")}
    base = {"role": None, "platform": None, "serial": "", "primary_ip": None}
    state = {"value": "active", "label": "Active"}
    return {"id": pk, "name": name, "device_type": kind, "site": named(1, "Haus"), "status": state, **base, **more}


def end(*ports: int, kind: str = "dcim.interface") -> list[dict[str, Any]]:
    return [{"object_type": kind, "object_id": port, "object": {}} for port in ports]


def port(pk: int, owner: str, name: str) -> dict[str, Any]:
    return {"id": pk, "device": {"id": 1, "name": owner}, "name": name}


def lists() -> dict[str, list[dict[str, Any]]]:
    """Unnamed devices, several addresses on a port, addresses of nothing and of a VM, cables of all kinds."""
    types = [{"id": 1, "model": "X1", "slug": "x1", "manufacturer": named(1, "Acme")}]
    addresses = [
        {"id": 1, "address": "10.0.0.1/24", "assigned_object_type": "dcim.interface", "assigned_object_id": 1},
        {"id": 2, "address": "10.0.0.9/24", "assigned_object_type": "dcim.interface", "assigned_object_id": 1},
        {
            "id": 3,
            "address": "10.0.0.3/24",
            "assigned_object_type": "virtualization.vminterface",
            "assigned_object_id": 2,
        },
        {"id": 4, "address": "10.0.0.4/24", "assigned_object_type": None, "assigned_object_id": None},
    ]
    cables: list[dict[str, Any]] = [
        {"id": 1, "a_terminations": end(1), "b_terminations": end(2)},
        {"id": 2, "a_terminations": end(3, kind="dcim.frontport"), "b_terminations": end(2)},
        {"id": 3, "a_terminations": end(1, 2), "b_terminations": end(3)},
        {"id": 4, "a_terminations": [], "b_terminations": end(2)},
        {"id": 5, "a_terminations": end(99), "b_terminations": end(2)},
        {"id": 6},
    ]
    return {
        "dcim/sites": [named(1, "Haus"), named(2, "Empty")],
        "dcim/manufacturers": [named(1, "Acme")],
        "dcim/device-types": types,
        "dcim/devices": [
            device(1, "a1", primary_ip={"id": 1, "address": "10.0.0.1/24"}),
            device(2, "a2", status={"value": "staged", "label": "Staged"}),
            device(3, None),
        ],
        "dcim/interfaces": [port(1, "a1", "Gi0/1"), port(2, "a2", "Gi0/1"), port(3, "a2", "Gi0/2"), port(4, "", "lo")],
        "ipam/ip-addresses": addresses,
        "dcim/cables": cables,
    }


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETBOX_TOKEN", "secret")


def test_what_a_netbox_has_more_than_we_do(team: Team, token: None) -> None:
    stand_in = StandIn(lists(), page=1)
    with stand_in.served() as address:
        call(address, "--team", "red")
        assert "Nothing to do" in call(address, "--team", "red")
    assert {auth for _, auth in stand_in.asked} == {"Token secret"}
    assert [path for path, _ in stand_in.asked if "/sites/" in path][:2] == [
        "/api/dcim/sites/?limit=500&offset=0&ordering=id",
        "/api/dcim/sites/?limit=500&offset=1&ordering=id",
    ]
    with team_scope(team.pk):
        assert dict(Device.objects.values_list("name", "status")) == {"a1": "active", "a2": "staged"}
        assert Device.objects.get(name="a1").router_id == "10.0.0.1"
        assert set(Interface.objects.values_list("device__name", "name", "address")) == {
            ("a1", "Gi0/1", "10.0.0.1"), ("a2", "Gi0/1", None), ("a2", "Gi0/2", None),
        }  # fmt: skip
        assert list(Link.objects.values_list("name", flat=True)) == ["a1–a2"]
        assert set(Site.objects.values_list("slug", flat=True)) == {"haus", "empty"}
        assert DeviceType.objects.get().manufacturer.name == "Acme"


def test_what_the_network_told_is_completed_and_not_contradicted(team: Team, source_of_red: Any, token: None) -> None:
    with team_scope(team.pk):
        told = Device.objects.create(**sorted_name("a1"), source=source_of_red, key="k", router_id="10.255.0.1",
                                     changed=source_of_red.heard)  # fmt: skip
        Interface.objects.create(device=told, name="10.0.0.1", address="10.0.0.1", learned=True)
    with StandIn(lists()).served() as address:
        call(address, "--team", "red")
        assert "Nothing to do" in call(address, "--team", "red")
    with team_scope(team.pk):
        told.refresh_from_db()
        assert (str(told.site), told.router_id) == ("Haus", "10.255.0.1")
        assert [port.name for port in Interface.objects.filter(device=told)] == ["10.0.0.1"]
        assert str(Link.objects.get().a_interface) == "10.0.0.1"


@pytest.fixture
def source_of_red(team: Team) -> Any:
    from django.utils import timezone

    from inventory.models import TopologySource

    with team_scope(team.pk):
        return TopologySource.objects.create(name="lab", host="127.0.0.1", heard=timezone.now())


def test_all_or_nothing(team: Team, token: None) -> None:
    wrong = lists()
    wrong["dcim/interfaces"].append(port(9, "a1", "x" * 64))
    with StandIn(wrong).served() as address, pytest.raises(SystemExit):
        call(address, "--team", "red")
    with team_scope(team.pk):
        assert not Site.objects.exists()
        assert not Device.objects.exists()
        organised_create(model=Site, name="Haus", slug="other")
        device_create(name="mine")
    with StandIn(lists()).served() as address, pytest.raises(SystemExit):
        call(address, "--team", "red")
    with team_scope(team.pk):
        assert list(Device.objects.values_list("name", flat=True)) == ["mine"]


@pytest.mark.parametrize(
    ("status", "said"), [(403, "does not let this token in"), (500, "status 500"), (404, "a NetBox")]
)
def test_what_is_no_netbox_is_said(status: int, said: str, team: Team, token: None) -> None:
    with StandIn({}, status=status).served() as address, pytest.raises(CommandError, match=said):
        call(address, "--team", "red")


def test_it_goes_through_the_gate(team: Team, token: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OUTBOUND_ALLOW = []
    stand_in = StandIn(lists())
    with stand_in.served() as address, pytest.raises(CommandError, match="private address"):
        call(address, "--team", "red")
    assert stand_in.asked == []
    with pytest.raises(CommandError, match="starts with https://"):
        call("ftp://127.0.0.1/", "--team", "red")
    with pytest.raises(CommandError, match="no team"):
        call(address, "--team", "pink")
    monkeypatch.delenv("NETBOX_TOKEN")
    with pytest.raises(CommandError, match="NETBOX_TOKEN"):
        call(address, "--team", "red")
