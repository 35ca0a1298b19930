"""Tables in and out: an export comes back as nothing to do, an edit is what was edited or is refused by its line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import drain
from core.scope import team_scope
from inventory.imports import jobs
from inventory.imports.plan import Plan, apply_plan, make_plan
from inventory.imports.tables import TABLES
from inventory.imports.text import MAX_ROWS, decoded, exported, records
from inventory.models import Device, DeviceType, Interface, InventoryImport, Link, Site
from inventory.written import device_create, interface_create, link_create
from tenancy.models import Team, User
from tests.rows import lab_rows

quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def plan(kind: str, text: str) -> Plan:
    return make_plan(TABLES[kind], records(kind, text), silent)


def done(kind: str, text: str) -> Plan:
    made = plan(kind, text)
    assert made.problems == []
    apply_plan(made, silent)
    return made


def export(kind: str) -> str:
    return "".join(exported(kind))


def table(kind: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export(kind))))


def written(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def problems(kind: str, text: str) -> list[tuple[int, str]]:
    return [(each.line, each.column) for each in plan(kind, text).problems]


DEVICES = """name,status,site,role,manufacturer,device_type,platform,serial,router_id
sw1,active,Haus 1,Edge,Acme,X1,FRR,S1,10.77.0.1
sw2,planned,Haus 1,,,,,,
sw3,,Haus 2,Edge,Acme,X2,,=1+2,2001:DB8::3
"""


def test_devices_come_with_what_they_name(scope: Team) -> None:
    made = done("devices", DEVICES)
    assert (len(made.new), len(made.changed), made.unchanged) == (3, 0, 0)
    assert {model.__name__: len(rows) for model, rows in made.beside.items()} == {
        "Site": 2, "DeviceRole": 1, "Platform": 1, "Manufacturer": 1, "DeviceType": 2,
    }  # fmt: skip
    device = Device.objects.get(name="sw3")
    assert (device.status, device.serial, device.router_id, device.sort_key) == (
        "active", "=1+2", "2001:db8::3", "sw0000000003",
    )  # fmt: skip
    assert str(DeviceType.objects.get(devices__name="sw3").manufacturer) == "Acme"
    again = plan("devices", DEVICES)
    # An empty status is the default one, an address is the same however it is written.
    assert (again.changes, again.unchanged, dict(again.beside)) == ([], 3, {})
    assert "'=1+2" in export("devices")


def test_a_change_is_shown_field_by_field(scope: Team) -> None:
    done("devices", DEVICES)
    made = done("devices", "name,serial,site\nsw1,S9,\nsw2,,Haus 1\n")
    (change,) = made.changed
    assert (change.line, change.label, change.before, change.after) == (
        2, "sw1", {"site": "Haus 1", "serial": "S1"}, {"site": "", "serial": "S9"},
    )  # fmt: skip
    assert made.unchanged == 1
    device = Device.objects.get(name="sw1")
    assert (device.site, device.serial, str(device.role)) == (None, "S9", "Edge")


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ('name\n""\nx', []),
        ("name,serial\n,S1", [(2, "name")]),
        ("name\nsw1\nsw9\nSW9", [(4, "name")]),
        ("name\nsw1\nsw1", [(3, "name")]),
        ("name,status\nsw9,gone", [(2, "status")]),
        ("name,router_id\nsw9,300.1.1.1\nsw8,10.0.0.1", [(2, "router_id")]),
        ("name,manufacturer\nsw9,Acme", [(2, "device_type")]),
        ("name,device_type\nsw9,X1", [(2, "manufacturer")]),
        ("name,site\nsw9,北京", [(2, "site")]),
        ("name,site\nsw9,haus-1", [(2, "site")]),
        (f"name\n{'x' * 121}", [(2, "name")]),
        (f"name,site\nsw9,{'x' * 121}", [(2, "site")]),
        ("id,name\n999999,sw9", [(2, "id")]),
        ("id,name\nx,sw9", [(2, "id")]),
        ('name,serial\n"a\nb",S1\nsw9,"a\tb"', [(2, "name"), (4, "serial")]),
    ],
)
def test_wrong_devices_are_told_by_line_and_column(rows: str, wrong: list[tuple[int, str]], scope: Team) -> None:
    done("devices", DEVICES)
    before = export("devices")
    assert problems("devices", rows) == wrong
    assert export("devices") == before


def test_interfaces_and_links(scope: Team) -> None:
    done("devices", DEVICES)
    done("interfaces", "device,name,address\nsw1,eth0,10.1.0.1\nsw2,eth0,\nSW3,eth0,\nsw3,eth1,2001:db8::9\n")
    made = done("links", "a_device,a_interface,z_device,z_interface\nsw1,eth0,sw2,eth0\nsw2,eth0,sw3,eth1\n")
    assert [change.after["z_device"] for change in made.new] == ["sw2", "sw3"]
    assert dict(Link.objects.values_list("name", "state")) == {"sw1–sw2": "unknown", "sw2–sw3": "unknown"}
    # The same from the other side is no change of what it joins, and there is one of it.
    done("links", "a_device,a_interface,z_device,z_interface\nsw2,eth0,sw1,eth0\n")
    assert Link.objects.count() == 2
    done("devices", f"id,name\n{Device.objects.get(name='sw2').pk},core2\n")
    assert set(Link.objects.values_list("name", flat=True)) == {"core2–sw1", "core2–sw3"}
    assert plan("interfaces", "device,name,address\nsw1,eth0,10.1.0.2\n").changed[0].label == "sw1 eth0"


@pytest.mark.parametrize(
    ("kind", "rows", "wrong"),
    [
        ("interfaces", "device,name\nnobody,eth0\nsw1,eth9", [(2, "device")]),
        ("interfaces", "device,name,address\nsw1,eth9,x", [(2, "address")]),
        ("interfaces", "device,name\nsw1,eth9\nsw1,eth9", [(3, "name")]),
        ("interfaces", f"device,name\nsw1,{'x' * 61}", [(2, "name")]),
        ("interfaces", "device,name\nsw1,", [(2, "name")]),
        ("links", "a_device,a_interface,z_device,z_interface\nsw1,eth0,sw1,eth1", [(2, "z_device")]),
        ("links", "a_device,a_interface,z_device,z_interface\nsw1,eth0,sw2,eth7", [(2, "z_interface")]),
        ("links", "a_device,a_interface,z_device,z_interface\nnobody,eth0,sw2,eth0", [(2, "a_device")]),
        (
            "links",
            "a_device,a_interface,z_device,z_interface\nsw1,eth1,sw2,eth0\nsw2,eth0,sw1,eth1",
            [(3, "z_interface")],
        ),
    ],
)
def test_wrong_interfaces_and_links_are_told(kind: str, rows: str, wrong: list[tuple[int, str]], scope: Team) -> None:
    done("devices", DEVICES)
    done("interfaces", "device,name\nsw1,eth0\nsw1,eth1\nsw2,eth0\n")
    assert problems(kind, rows) == wrong


def test_an_interface_stays_on_its_device_and_links_are_twice_nowhere(scope: Team) -> None:
    done("devices", DEVICES)
    done("interfaces", "device,name\nsw1,eth0\nsw2,eth0\nsw3,eth0\n")
    done("links", "a_device,a_interface,z_device,z_interface\nsw1,eth0,sw2,eth0\nsw2,eth0,sw3,eth0\n")
    port, link = Interface.objects.get(device__name="sw1"), Link.objects.get(name="sw2–sw3")
    assert problems("interfaces", f"id,device,name\n{port.pk},sw2,eth5") == [(2, "device")]
    assert problems("interfaces", f"id,device,name\n{port.pk},sw1,eth5") == []
    moved = f"id,a_device,a_interface,z_device,z_interface\n{link.pk},sw1,eth0,sw2,eth0"
    assert problems("links", moved) == [(2, "z_interface")]


def test_what_was_learned_comes_back_unchanged_and_cannot_be_changed(scope: Team) -> None:
    lab_rows()
    Interface.objects.update(learned=True)
    Link.objects.update(learned=True)
    for kind, count in (("devices", 6), ("interfaces", 16), ("links", 8)):
        again = plan(kind, export(kind))
        assert (again.problems, again.changes, again.unchanged) == ([], [], count)
    device = Device.objects.get(name="R1")
    assert problems("devices", "name,router_id\nR1,10.9.9.9") == [(2, "router_id")]
    assert problems("devices", f"id,name\n{device.pk},R9") == [(2, "name")]
    port = Interface.objects.filter(device=device)[0]
    assert problems("interfaces", f"id,name\n{port.pk},eth0") == [(2, "name")]
    assert problems("interfaces", f"device,name,address\nR1,{port.name},") == [(2, "address")]
    rows = table("links")
    rows[0]["a_interface"] = "nowhere"
    assert [column for _, column in problems("links", written(rows))] == ["a_interface"]
    done("devices", "name,serial,site\nR1,S1,Haus 1\n")
    device.refresh_from_db()
    assert (device.serial, str(device.site), device.up) == ("S1", "Haus 1", True)


def test_devices_of_one_name_are_told_apart_by_id(scope: Team) -> None:
    lab = lab_rows()
    twin = lab.device("R1x")
    Device.objects.filter(pk=twin.pk).update(name="R1", sort_key="r0000000001")
    assert plan("devices", export("devices")).unchanged == 7
    assert problems("devices", "name,serial\nR1,S1") == [(2, "name")]
    done("devices", f"id,serial\n{twin.pk},S1\n")
    assert dict(Device.objects.filter(name="R1").values_list("pk", "serial")) == {
        twin.pk: "S1",
        lab.devices["R1"].pk: "",
    }


@pytest.mark.parametrize(
    "text",
    ["", "colour\nred", "name,name\na,b", "serial\nS1", "name\n\"a", "name\nnul\0", "name,serial\na", "name\na,b"],
)  # fmt: skip
def test_a_table_that_makes_no_sense_is_refused_as_a_whole(text: str, scope: Team) -> None:
    if text == "":
        with pytest.raises(ValidationError):
            jobs.import_start(kind="devices", text=text, user=User())
        return
    with pytest.raises(ValidationError) as error:
        records("devices", text)
    assert set(error.value.message_dict) == {"text"}


def test_what_tables_look_like_in_the_wild(scope: Team) -> None:
    excel = decoded("\ufeffName;Serial\r\nsw1;S1\r\n;\r\nsw2;S2\r\n".encode())
    assert records("devices", excel) == [(2, {"name": "sw1", "serial": "S1"}), (4, {"name": "sw2", "serial": "S2"})]
    with pytest.raises(ValidationError, match="UTF-8"):
        decoded("name\nÄ".encode("latin-1"))
    with pytest.raises(ValidationError, match="split it"):
        records("devices", "name\n" + "x\n" * (MAX_ROWS + 1))


CELLS = st.one_of(
    st.sampled_from(["", "R1", "sw1", "SW1", "new", "=1", "+x", "'=1", "-", "@a", "Haus 1", "Acme", "X1", "active",
                     "planned", "10.0.0.1", "2001:db8::1", "eth0", "ä ö", "a,b", 'q"q', "x" * 130]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)  # fmt: skip


def canonical(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return sorted(tuple(value.lower() for value in row.values()) for row in rows)


@given(data=st.data())
@quiet
def test_edits_of_an_export_are_what_was_edited_or_refused_by_line(data: st.DataObject, scope: Team) -> None:
    savepoint = transaction.savepoint()
    try:
        a = device_create(name="sw1", serial="S1", router_id="10.0.0.1")
        z = device_create(name="sw2", status="planned")
        ports = [interface_create(device=device, name=name) for device in (a, z) for name in ("eth0", "eth1")]
        link_create(a_interface=ports[0], z_interface=ports[2])
        kind = data.draw(st.sampled_from(sorted(TABLES)))
        rows = table(kind)
        columns = list(rows[0])[1:]
        for _ in range(data.draw(st.integers(1, 3))):
            data.draw(st.sampled_from(rows))[data.draw(st.sampled_from(columns))] = data.draw(CELLS).strip()
        if data.draw(st.booleans()):
            rows.append({name: data.draw(CELLS).strip() if name != "id" else "" for name in rows[0]})
        try:
            read = records(kind, written(rows))
        except ValidationError:
            return
        before = export(kind)
        made = make_plan(TABLES[kind], read, silent)
        assert export(kind) == before
        if made.problems:
            lines = {line for line, _ in read}
            assert all(each.line in lines and each.text for each in made.problems)
            return
        apply_plan(made, silent)
        wanted = [{**dict(cells), "id": ""} for _, cells in read if any(cells.values())]
        for row in wanted:
            if kind == "devices":
                row["status"] = row["status"] or "active"
        found = [{**row, "id": ""} for row in table_plain(kind)]
        assert canonical(found) == canonical(wanted)
        again = plan(kind, export(kind))
        assert (again.problems, again.changes) == ([], [])
    finally:
        transaction.savepoint_rollback(savepoint)


def table_plain(kind: str) -> list[dict[str, str]]:
    """What is there, as an import reads the export."""
    return [dict(cells) for _, cells in records(kind, export(kind))]


# The job


def run(row: InventoryImport) -> InventoryImport:
    assert row.team_id
    jobs.Imports().run(row.team_id, row.pk)
    row.refresh_from_db()
    return row


def test_a_table_is_checked_then_written_then_forgotten(alice: User, scope: Team) -> None:
    row = jobs.import_start(kind="devices", text=DEVICES, user=alice)
    assert (row.state, row.total) == ("checking", 3)
    run(row)
    assert (row.state, row.result["new"], row.result["problem_count"]) == ("checked", 3, 0)
    assert "site Haus 1" in row.result["beside"]
    assert not Device.objects.exists()
    assert jobs.progress(row.pk) == (0, 3)
    jobs.import_commit(row=row, user=alice)
    run(row)
    assert (row.state, row.text, Device.objects.count(), Site.objects.count()) == ("done", "", 3, 2)
    assert jobs.progress(row.pk) == (3, 3)
    assert jobs.Imports().run(scope.pk, row.pk) == 0
    with pytest.raises(ValidationError, match="not waiting for you"):
        jobs.import_commit(row=row, user=alice)


def test_a_table_with_problems_writes_nothing(alice: User, scope: Team) -> None:
    row = run(jobs.import_start(kind="devices", text="name,status\nsw1,active\nsw2,gone\n", user=alice))
    assert (row.state, row.result["problems"][0][:2]) == ("refused", [3, "status"])
    with pytest.raises(ValidationError):
        jobs.import_commit(row=row, user=alice)
    assert not Device.objects.exists()


def test_what_changed_since_the_check_counts(alice: User, scope: Team) -> None:
    row = run(jobs.import_start(kind="interfaces", text="device,name\nsw1,eth0\n", user=alice))
    assert row.state == "refused"
    device = device_create(name="sw1")
    row = run(jobs.import_start(kind="interfaces", text="device,name\nsw1,eth0\n", user=alice))
    assert row.state == "checked"
    device.delete()
    jobs.import_commit(row=row, user=alice)
    assert run(row).state == "refused"


def test_all_or_nothing_and_a_killed_worker_is_made_good(
    alice: User, scope: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies when all was written and not yet committed: nothing is there, and the sweep has it done again."""
    row = run(jobs.import_start(kind="devices", text=DEVICES, user=alice))
    jobs.import_commit(row=row, user=alice)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("inventory.imports.plan.live.publish", killed)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            jobs.Imports().run(scope.pk, row.pk)
    assert not Device.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT drain, team_id, key_id FROM netops_due_keys()")
        assert ("imports", scope.pk, row.pk) in cursor.fetchall()
    drain.get("imports").run(scope.pk, row.pk)
    assert Device.objects.count() == 3


def test_a_collision_is_told_and_not_half_written(alice: User, scope: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    row = run(jobs.import_start(kind="devices", text=DEVICES, user=alice))
    jobs.import_commit(row=row, user=alice)

    def collide(plan: Plan, tick: Any) -> None:
        apply_plan(plan, tick)
        raise IntegrityError

    monkeypatch.setattr("inventory.imports.jobs.apply_plan", collide)
    run(row)
    assert (row.state, row.result["problem_count"]) == ("refused", 1)
    assert "at the same time" in row.result["problems"][0][2]
    assert not Device.objects.exists()


def test_the_trail_says_who_had_it_written(alice: User, scope: Team) -> None:
    row = run(jobs.import_start(kind="devices", text=DEVICES, user=alice))
    jobs.import_commit(row=row, user=alice)
    run(row)
    events: Any = apps.get_model("inventory", "DeviceAuditEvent")._default_manager
    assert {(event["door"], event["user"]) for event in events.values_list("pgh_context", flat=True)} == {
        ("import", alice.pk)
    }


# Pages and commands


def test_the_page_takes_a_file_shows_the_diff_and_writes_it(
    alice_client: Client, team: Team, charlie_client: Client
) -> None:
    file = SimpleUploadedFile("devices.csv", DEVICES.encode(), "text/csv")
    answer = alice_client.post("/t/red/import/", {"kind": "devices", "file": file})
    assert answer.status_code == 302
    address = answer.headers["Location"]
    assert "Being checked: 0 of 3" in alice_client.get(address).content.decode()
    with team_scope(team.pk):
        run(InventoryImport.objects.get())
    page = alice_client.get(address).content.decode()
    for text in ("<strong>3</strong> new", "Write 3 rows", "sw1", "Site Haus 1", "router_id 10.77.0.1"):
        assert text in page, text
    assert charlie_client.get(address).status_code == 404
    assert charlie_client.post(address).status_code == 404
    assert alice_client.post(address).status_code == 302
    assert "Being written" in alice_client.get(address).content.decode()
    with team_scope(team.pk):
        run(InventoryImport.objects.get())
        assert Device.objects.count() == 3
    assert "All of it was written" in alice_client.get(address).content.decode()
    assert "not waiting for you" in alice_client.post(address).content.decode()
    assert address in alice_client.get("/t/red/import/").content.decode()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"kind": "devices", "text": "colour\nred"}, "There is no column"),
        ({"kind": "devices", "text": ""}, "is missing"),
        ({"kind": "devices", "text": "name\n"}, "no rows"),
        ({"kind": "secrets", "text": "name\na"}, "Choose one of"),
        ({"kind": "devices", "file": b"\xff\xfe"}, "not UTF-8"),
    ],
)
def test_the_page_says_what_is_wrong_with_a_table(sent: dict[str, Any], said: str, alice_client: Client) -> None:
    if isinstance(sent.get("file"), bytes):
        sent = {**sent, "file": SimpleUploadedFile("x.csv", sent["file"])}
    answer = alice_client.post("/t/red/import/", sent)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_a_viewer_may_export_and_not_import(bob_client: Client, team: Team) -> None:
    assert bob_client.get("/t/red/import/").status_code == 403
    assert bob_client.post("/t/red/import/", {"kind": "devices", "text": DEVICES}).status_code == 403
    with team_scope(team.pk):
        lab_rows()
        wanted = {kind: export(kind) for kind in TABLES}
    for kind, text in wanted.items():
        answer = bob_client.get(f"/t/red/export/{kind}.csv")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert answer.getvalue().decode() == text
    assert bob_client.get("/t/red/export/secrets.csv").status_code == 404
    assert ">Import<" not in bob_client.get("/t/red/devices/").content.decode()


def call(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_shows_and_writes(team: Team, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(DEVICES)
    said = call("import_csv", "devices", str(file), "--team", "red")
    assert "+ device sw1: name 'sw1', status 'active', site 'Haus 1'" in said
    assert "run it again with --commit" in said
    with team_scope(team.pk):
        assert not Device.objects.exists()
    assert "devices: 10 new, 0 changed, 0 unchanged" in call(
        "import_csv", "devices", str(file), "--team", "red", "--commit"
    )
    with team_scope(team.pk):
        assert Device.objects.count() == 3
    file.write_text("name,serial\nsw1,S9\n")
    assert "~ device sw1: serial 'S1' → 'S9'" in call("import_csv", "devices", str(file), "--team", "red", "--commit")
    file.write_text("name,status\nsw1,gone\n")
    with pytest.raises(SystemExit):
        call("import_csv", "devices", str(file), "--team", "red", "--commit")
    file.write_text("colour\nred\n")
    with pytest.raises(CommandError, match="no column"):
        call("import_csv", "devices", str(file), "--team", "red")
    with pytest.raises(CommandError, match="no team"):
        call("import_csv", "devices", str(file), "--team", "pink")


def test_results_are_json_and_bounded(alice: User, scope: Team) -> None:
    text = "name\n" + "".join(f"sw{number}\n" for number in range(1500))
    row = run(jobs.import_start(kind="devices", text=text, user=alice))
    assert (row.result["new"], len(row.result["changes"])) == (1500, jobs.SHOWN)
    assert json.dumps(row.result)
    jobs.import_commit(row=row, user=alice)
    run(row)
    assert Device.objects.count() == 1500
