"""The team's graph, and paths between names: by function, by command and by REST."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from core.scope import team_scope
from inventory.graph import UnknownName, endpoint_device, find_end, find_paths, load_graph
from inventory.models import Device, Endpoint, HalfLink, Link, TopologySource, TopologyUpdate
from inventory.paths import PathError
from inventory.services import apply_updates, endpoint_set
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.inventory import lines

SAMPLE = Path(__file__).with_name("exabgp_sample.jsonl").read_text().splitlines()
END_OF_RIB = next(number for number, line in enumerate(SAMPLE) if '"eor"' in line) + 1
SEED = json.loads((Path(__file__).parents[2] / "lab" / "seed_lab.json").read_text())
EIGHT = {" ".join(path) for path in SEED["all_simple_paths_dev1_dev2"]}


def hear(team: Team, *said: str) -> None:
    with team_scope(team.pk):
        source = TopologySource.objects.get_or_create(name="lab", host="127.0.0.1")[0]
        rows = [TopologyUpdate(source=source, run=0, line=line) for line in said]
        apply_updates(source, TopologyUpdate.objects.bulk_create(rows))


@pytest.fixture
def network(team: Team) -> Team:
    """The lab as ExaBGP told of it, with its two end points."""
    hear(team, *SAMPLE[:END_OF_RIB])
    with team_scope(team.pk):
        endpoint_set(name="dev1", address="20.0.0.2")
        endpoint_set(name="dev2", address="20.0.0.6")
    return team


def texts(*args: Any, **options: Any) -> list[str]:
    return [" ".join(route.hops) for route in find_paths(*args, **options).routes]


def test_the_graph_is_of_links_and_half_links(network: Team) -> None:
    with team_scope(network.pk):
        version, graph = load_graph()
        assert (version, len(graph), graph.number_of_edges()) == (3, 6, 16)
        for node, neighbor, link, data in graph.edges(keys=True, data=True):
            half = HalfLink.objects.get(pk=data["half_link"])
            assert (half.device_id, half.remote_device_id, half.link_id) == (node, neighbor, link)
            assert data["remote_address"] == half.remote_address
        assert load_graph()[1] is graph


def test_a_cut_link_leaves_the_graph_and_returns(network: Team) -> None:
    hear(network, SAMPLE[END_OF_RIB])
    with team_scope(network.pk):
        assert load_graph()[1].number_of_edges() == 14
        assert "dev1 R1 R2 R4 R6 dev2" not in texts("dev1", "dev2")
    hear(network, *SAMPLE[END_OF_RIB + 1 : END_OF_RIB + 4])
    with team_scope(network.pk):
        assert load_graph()[1].number_of_edges() == 16


def test_a_version_that_was_rolled_back_leaves_nothing(network: Team) -> None:
    """The same version may come again with other content."""
    with team_scope(network.pk):
        before = load_graph()
        with transaction.atomic():
            hear(network, SAMPLE[END_OF_RIB])
            assert load_graph()[1].number_of_edges() == 14
            transaction.set_rollback(True)
        hear(network, lines.announce(lines.node(9)))
        version, graph = load_graph()
        assert (version, graph.number_of_edges(), len(graph)) == (before[0] + 1, 16, 7)


def test_exactly_the_eight_paths(network: Team) -> None:
    with team_scope(network.pk):
        found = find_paths("dev1", "dev2")
        assert {" ".join(route.hops) for route in found.routes} == EIGHT
        assert (found.count, found.truncated) == (8, False)
        assert [route.cost for route in found.routes] == [30] * 4 + [50] * 4
        for route in found.routes:
            halves = [HalfLink.objects.get(pk=pk) for pk in route.half_links]
            assert [str(half.device) for half in halves] == route.hops[1:-2]


def test_policies(network: Team) -> None:
    with team_scope(network.pk):
        assert len(texts("dev1", "dev2", "all_shortest")) == 4
        assert len(texts("dev1", "dev2", "k_shortest", 5)) == 5
        assert len(texts("dev1", "dev2", "within_hops", 1)) == 4
        assert len(texts("dev1", "dev2", "within_hops")) == 8
        capped = find_paths("dev1", "dev2", cap=3)
        assert (len(capped.routes), capped.truncated) == (3, True)
        assert texts("R1", "R2", "all_shortest") == ["R1 R2"]
        assert texts("dev1", "R1") == ["dev1 R1"]
        assert texts("000010000004", "dev2", "all_shortest") == ["R4 R6 dev2"]
        for wrong in (("fastest",), ("k_shortest", 0), ("all", None, 0)):
            with pytest.raises(PathError):
                find_paths("dev1", "dev2", *wrong)


def test_an_endpoint_hangs_on_the_longest_prefix(network: Team) -> None:
    hear(network, lines.announce(lines.prefix(1, "20.0.0.0/16", metric=1)), lines.announce(lines.node(1, "far")))
    with team_scope(network.pk):

        def device_of(address: str) -> str:
            return str(endpoint_device(Endpoint(name="x", address=address)))

        assert device_of("20.0.0.2") == "R1"
        assert device_of("20.0.0.6") == "R6"
        assert device_of("20.0.9.9") == "far"
        assert device_of("10.255.0.4") == "R4"
        assert device_of("21.0.0.1") == "None"
        assert device_of("2001:db8::1") == "None"


def test_an_unknown_name_is_told_with_what_comes_near(network: Team) -> None:
    with team_scope(network.pk):
        endpoint_set(name="lost", address="203.0.113.9")
        for name, sentence in {
            "dev3": "No endpoint or device is called 'dev3': did you mean dev2 or dev1?",
            "zzzz": "No endpoint or device is called 'zzzz': the tables of devices and endpoints list all names.",
            "lost": "lost (203.0.113.9) is behind no prefix that a device announces.",
            "a\0b": "A name is at most 120 characters that can be printed.",
            "x" * 121: "A name is at most 120 characters that can be printed.",
        }.items():
            with pytest.raises(UnknownName) as unknown:
                find_end(name, "source")
            assert (str(unknown.value), unknown.value.field) == (sentence, "source")


def test_another_team_has_another_graph(network: Team, other_team: Team) -> None:
    with team_scope(network.pk):
        assert len(load_graph()[1]) == 6
    with team_scope(other_team.pk):
        assert load_graph()[0] == 0
        assert len(load_graph()[1]) == 0


# manage.py paths


def run_paths(*args: str) -> tuple[int, str, str]:
    out, error = StringIO(), StringIO()
    try:
        call_command("paths", *args, stdout=out, stderr=error, no_color=True)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue(), error.getvalue()
    return 0, out.getvalue(), error.getvalue()


def test_the_command_prints_one_path_a_line(network: Team) -> None:
    status, out, _ = run_paths("dev1", "dev2", "--team", "red")
    *listed, last = out.splitlines()
    assert (status, set(listed), last) == (0, EIGHT, "8 paths")


def test_the_command_says_truncated(network: Team) -> None:
    _, out, _ = run_paths("dev1", "dev2", "--team", "red", "--cap", "2")
    assert len(out.splitlines()) == 3
    assert "truncated" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("dev1", "dev3", "--team", "red"), "No endpoint or device is called 'dev3': did you mean dev2 or dev1?"),
        (("dev1", "dev2", "--team", "green"), "There is no team 'green': use one of red."),
        (("dev1", "dev2", "--team", "red", "--cap", "0"), "The cap must be 1 or more."),
    ],
)
def test_the_command_fails_with_one_sentence(network: Team, args: tuple[str, ...], sentence: str) -> None:
    assert run_paths(*args) == (1, "", f"{sentence}\n")


# REST

LISTS = ("devices", "links", "half-links", "interfaces", "prefixes", "endpoints", "events", "sources")


def get(client: Client, what: str, status: int = 200, **query: str | int) -> Any:
    response = client.get(f"/api/inventory/{what}/", query)
    assert response.status_code == status, response.content
    return json.loads(response.content)


def test_lists(alice_client: Client, network: Team) -> None:
    counts = {what: get(alice_client, what)["count"] for what in LISTS}
    events = counts.pop("events")
    assert list(counts.values()) == [6, 8, 16, 16, 24, 2, 1]
    assert events > 50
    assert [row["name"] for row in get(alice_client, "devices")["results"]] == [f"R{n}" for n in range(1, 7)]
    assert get(alice_client, "links", q="10.1.1.4")["results"][0]["name"] == "R2–R4"
    (half,) = get(alice_client, "half-links", device="R2", q="R4")["results"]
    assert (half["local_address"], half["remote_address"], half["delay_us"]) == ("10.1.1.4", "10.1.1.5", 10)
    assert get(alice_client, "sources")["results"][0]["state"] == {"value": "live", "label": "Live"}
    page = get(alice_client, "half-links", limit=10, offset=10)
    assert (len(page["results"]), page["next"]) == (6, None)
    assert "offset=0" in page["previous"]


@pytest.mark.parametrize("what", LISTS)
def test_walls_of_lists(what: str, bob_client: Client, charlie_client: Client, client: Client, network: Team) -> None:
    assert get(bob_client, what)["count"] > 0
    assert get(charlie_client, what)["count"] == 0
    get(client, what, status=401)


def test_paths_in_rest(alice_client: Client, charlie_client: Client, network: Team) -> None:
    found = get(alice_client, "paths", source="dev1", target="dev2")
    assert (found["count"], found["next"], found["previous"], found["truncated"]) == (8, None, None, False)
    assert {" ".join(each["hops"]) for each in found["results"]} == EIGHT
    assert set(found["results"][0]) == {"hops", "half_links", "cost"}
    assert get(alice_client, "paths", source="dev1", target="dev2", limit=2)["truncated"] is True
    assert get(alice_client, "paths", source="dev1", target="dev2", policy="k_shortest", value=1)["count"] == 1
    refused = get(charlie_client, "paths", status=400, source="dev1", target="dev2")
    assert "No endpoint or device is called 'dev1': the tables" in refused["source"][0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "source"),
        ({"source": "dev1"}, "target"),
        ({"source": "dev1", "target": "dev9"}, "target"),
        ({"source": "dev1", "target": "a\0b"}, "target"),
        ({"source": "dev1", "target": "dev2", "policy": "x"}, "detail"),
        ({"source": "dev1", "target": "dev2", "value": "-1"}, "value"),
        ({"source": "dev1", "target": "dev2", "limit": "٣"}, "limit"),
        ({"source": "dev1", "target": "dev2", "limit": "0"}, "detail"),
    ],
)
def test_bad_questions_name_the_field(query: dict[str, str], field: str, alice_client: Client, network: Team) -> None:
    assert list(get(alice_client, "paths", status=400, **query)) == [field]


def post(client: Client, what: str, data: object, status: int = 201) -> Any:
    response = client.post(f"/api/inventory/{what}/", data, content_type="application/json")
    assert response.status_code == status, response.content
    return json.loads(response.content)


def test_writing(alice_client: Client, bob_client: Client, charlie_client: Client, network: Team) -> None:
    made = post(alice_client, "endpoints", {"name": "dev3", "address": "20.0.0.3"})
    assert (made["name"], made["address"]) == ("dev3", "20.0.0.3")
    source = post(alice_client, "sources", {"name": "spare", "host": "127.0.0.1", "port": 1790})
    assert (source["state"]["value"], source["enabled"], source["port"]) == ("waiting", True, 1790)
    post(bob_client, "endpoints", {"name": "dev4", "address": "20.0.0.3"}, 403)
    post(bob_client, "sources", {"name": "x", "host": "127.0.0.1"}, 403)
    post(charlie_client, "endpoints", {"name": "dev3", "address": "20.0.0.9"})
    with team_scope(network.pk):
        assert Endpoint.objects.get(name="dev3").address == "20.0.0.3"


@pytest.mark.parametrize(
    ("what", "data", "field"),
    [
        ("endpoints", {"name": "dev3", "address": "20.0.0"}, "address"),
        ("endpoints", {"address": "20.0.0.1"}, "name"),
        ("sources", {"name": "x", "host": "10.0.0.1"}, "host"),
        ("sources", {"name": "x", "host": "127.0.0.1", "port": 99999}, "port"),
        ("sources", {"name": "x", "host": "127.0.0.1", "port": 2**70}, "port"),
        ("sources", {"name": "x", "host": "127.0.0.1", "hold_time_s": 1}, "hold_time_s"),
        ("sources", {"name": "lab", "host": "127.0.0.1"}, "detail"),
        ("sources", [], "detail"),
    ],
)
def test_bad_writing_names_the_field(what: str, data: object, field: str, alice_client: Client, network: Team) -> None:
    assert list(post(alice_client, what, data, 400)) == [field]


def test_a_token_reads(client: Client, network: Team, alice: User) -> None:
    token = token_create(team=network, role="viewer")
    response = client.get("/api/inventory/links/", headers={"authorization": f"Token {token}"})
    assert json.loads(response.content)["count"] == 8
    with team_scope(network.pk):
        assert Link.objects.count() == 8
        assert Device.objects.count() == 6
