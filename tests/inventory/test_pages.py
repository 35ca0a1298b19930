"""Map, devices and links: search, sort, paging, states."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from core.scope import team_scope
from inventory.graph import UnknownName, find_paths, load_graph
from inventory.layout import place
from inventory.models import Link, Site, TopologySource
from inventory.selectors import network_summary
from inventory.written import device_create, interface_create, link_create, organised_create
from tenancy.models import Team
from tests.rows import Lab, campaign_rows, lab_rows
from ticketing.services import incident_report


@pytest.fixture
def lab(team: Team) -> Lab:
    with team_scope(team.pk):
        return lab_rows()


def names(client: Client, url: str) -> list[str]:
    return re.findall(r'<a class="name"[^>]*>([^<]*)</a>', client.get(url).content.decode())


def test_devices_are_sorted_as_people_count(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        lab.device("R10")
    assert names(bob_client, "/t/red/devices/") == ["R1", "R2", "R3", "R4", "R5", "R6", "R10"]
    assert names(bob_client, "/t/red/devices/?sort=-name")[0] == "R10"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=r4", ["R4"]),
        ("q=0000.1000.0002", ["R3"]),
        ("q=10.255.0.5", ["R6"]),
        ("q=%25", []),
        ("q=%00", ["R1", "R2", "R3", "R4", "R5", "R6"]),
        ("state=down", []),
        ("state=nonsense&sort=nonsense&page=x", ["R1", "R2", "R3", "R4", "R5", "R6"]),
        ("page=99999999999", ["R1", "R2", "R3", "R4", "R5", "R6"]),
    ],
)
def test_devices_are_found(query: str, found: list[str], lab: Lab, bob_client: Client) -> None:
    assert names(bob_client, f"/t/red/devices/?{query}") == found


def test_links_are_found_by_address(lab: Lab, bob_client: Client) -> None:
    assert names(bob_client, "/t/red/links/?q=10.1.1.5") == ["R2–R4"]
    assert names(bob_client, "/t/red/links/?q=R6&sort=-name") == ["R5–R6", "R4–R6"]


@pytest.mark.parametrize("sort", ["name", "state", "a", "z", "changed"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_links_sort_by_every_column(sort: str, sign: str, lab: Lab, bob_client: Client) -> None:
    assert len(names(bob_client, f"/t/red/links/?sort={sign}{sort}")) == 8


def test_pages_keep_search_and_sort(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        for number in range(70):
            lab.device(f"edge{number}")
    first = bob_client.get("/t/red/devices/?q=edge&sort=-name").content.decode()
    assert "1–50 of 70" in first
    assert "/t/red/devices/?q=edge&amp;sort=-name&amp;page=2" in first
    assert names(bob_client, "/t/red/devices/?q=edge&sort=-name&page=2") == [f"edge{n}" for n in range(19, -1, -1)]


def test_htmx_gets_the_table_alone(lab: Lab, bob_client: Client) -> None:
    answer = bob_client.get("/t/red/devices/?q=R1", headers={"HX-Request": "true"})
    assert answer.content.decode().lstrip().startswith('<div id="listing" hx-get="/t/red/devices/?q=R1"')
    assert "HX-Request" in answer.headers["Vary"]
    restored = bob_client.get("/t/red/devices/", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()


def test_the_map_names_what_is_wrong(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        fault, bad, down = lab.links["R2–R4"], lab.links["R1–R2"], lab.links["R5–R6"]
        for link, severity, direction in ((fault, "critical", "R2→R4"), (bad, "warning", "both")):
            incident_report(
                kind="link", element=f"link:{link.pk}", source="probing:1", title="t", severity=severity,
                evidence={"direction": direction}, reason="r",
            )  # fmt: skip
        Link.objects.filter(pk=down.pk).update(state="down", changed=timezone.now())
    data = bob_client.get("/t/red/topology/data/").json()
    edges = {edge["id"]: (edge["condition"], edge["word"], edge["direction"]) for edge in data["edges"]}
    assert edges[f"l{fault.pk}"] == ("fault", "fault", "R2→R4")
    assert edges[f"l{bad.pk}"] == ("degraded", "degraded", "")
    assert edges[f"l{down.pk}"] == ("down", "down", "")
    assert [edge[0] for edge in edges.values()].count("up") == 5
    assert {node["label"] for node in data["nodes"]} == {"R1", "R2", "R3", "R4", "R5", "R6", "dev1", "dev2"}
    page = bob_client.get("/t/red/topology/").content.decode()
    assert "8 links, 3 in trouble" in page
    html = bob_client.get(f"/t/red/links/{fault.pk}/").content.decode()
    assert "Fault" in html
    assert "R2→R4" in html


def test_an_incident_of_two_links_marks_both(lab: Lab, team: Team, bob_client: Client) -> None:
    one, two = lab.links["R2–R4"], lab.links["R2–R5"]
    with team_scope(team.pk):
        incident_report(
            kind="link", element=f"link:{one.pk},link:{two.pk}", source="probing:1", title="t", evidence={}, reason="r"
        )
    edges = {edge["id"]: edge["condition"] for edge in bob_client.get("/t/red/topology/data/").json()["edges"]}
    assert (edges[f"l{one.pk}"], edges[f"l{two.pk}"]) == ("fault", "fault")


def test_a_link_shows_its_ends_and_the_paths_over_it(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        campaign_rows(lab)
    html = bob_client.get(f"/t/red/links/{lab.links['R2–R4'].pk}/").content.decode()
    for text in ("10.1.1.4", "10.1.1.5", "10 Gbit/s", "0.250 ms", "24001", "Paths over it now", "Link R2–R4 came up"):
        assert text in html
    assert f"/t/red/paths/{lab.paths[0].pk}/" in html
    assert f"/t/red/paths/{lab.paths[1].pk}/" not in html


def test_a_device_shows_its_interfaces_and_prefixes(lab: Lab, bob_client: Client) -> None:
    html = bob_client.get(f"/t/red/devices/{lab.devices['R1'].pk}/").content.decode()
    for text in ("10.1.1.0", "10.1.1.2", "20.0.0.2/32", "10.255.0.0"):
        assert text in html


def test_a_stale_source_says_why(lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        TopologySource.objects.update(state="stale", problem="The peer closed the session.")
    html = bob_client.get("/t/red/").content.decode()
    assert "Stale" in html
    assert "The peer closed the session." in html


LAB = {"a": "bc", "b": "ad", "c": "ad", "d": "bc"}


def test_the_same_graph_has_the_same_places() -> None:
    assert place("abcd", LAB) == place("abcd", LAB)


def test_neighbours_are_a_hop_apart_and_the_first_is_on_the_left() -> None:
    chain = {0: [1], 1: [0, 2], 2: [1, 3], 3: [2]}
    spots = place([0, 1, 2, 3], chain)
    assert [spots[node][0] for node in range(4)] == pytest.approx([-1.5, -0.5, 0.5, 1.5], abs=0.1)
    assert all(abs(spots[node][1]) < 0.2 for node in range(4))


def test_places_of_odd_graphs() -> None:
    assert place([], {}) == {}
    assert place(["only"], {}) == {"only": (0, 0)}
    apart = place("abcd", {"a": "b", "b": "a"})
    assert len(set(apart.values())) == 4
    ring = {n: [(n - 1) % 90, (n + 1) % 90] for n in range(90)}
    assert len(set(place(range(90), ring).values())) == 90


@pytest.fixture
def written(lab: Lab, team: Team) -> Link:
    """A device R9 that nobody learned, cabled to R1 of the lab."""
    with team_scope(team.pk):
        site = organised_create(model=Site, name="Haus")
        device = device_create(name="R9", site=site, serial="S9", status="planned")
        lab.devices["R9"] = device
        port = interface_create(device=device, name="eth0", address="10.9.0.1")
        return link_create(a_interface=interface_create(device=lab.devices["R1"], name="eth9"), z_interface=port)


def test_what_was_only_written_down_is_not_down(written: Link, lab: Lab, team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        summary = network_summary()
        graph = load_graph()[1]
        assert (summary["devices"], summary["links"]) == ({"total": 6, "up": 6}, {"total": 8, "up": 8})
        assert lab.devices["R9"].pk not in graph
        with pytest.raises(UnknownName, match="R9 was only written down"):
            find_paths("R9", "dev1")
    assert names(bob_client, "/t/red/devices/?state=unlearned") == ["R9"]
    assert len(names(bob_client, "/t/red/devices/?state=up")) == 6
    assert names(bob_client, "/t/red/links/?state=unlearned") == ["R1–R9"]
    assert "in trouble" not in bob_client.get("/t/red/topology/").content.decode()
    drawn = bob_client.get("/t/red/topology/data/").json()
    assert {node["label"]: node.get("learned") for node in drawn["nodes"]}["R9"] is False
    assert [(e["condition"], e["word"]) for e in drawn["edges"] if e["label"] == "R1–R9"] == [
        ("unlearned", "not learned")
    ]


def test_the_pages_of_written_down_rows_show_what_was_written(written: Link, lab: Lab, bob_client: Client) -> None:
    page = bob_client.get(f"/t/red/devices/{lab.devices['R9'].pk}/").content.decode()
    for text in ("Not learned", "Planned", "Haus", "S9", "eth0", "10.9.0.1", "R1–R9", "Written down"):
        assert text in page, text
    page = bob_client.get(f"/t/red/devices/{lab.devices['R1'].pk}/").content.decode()
    assert "eth9" in page
    assert "R1–R9" in page
    page = bob_client.get(f"/t/red/links/{written.pk}/").content.decode()
    for text in ("Not learned", "eth9", "eth0", "no topology source"):
        assert text in page, text
