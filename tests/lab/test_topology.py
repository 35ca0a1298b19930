"""The topology file: the seed as it is, and one sentence for everything that is wrong with one."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.topology import Topology, TopologyError, load, parse
from tests.lab.conftest import SEED

DOCUMENT: dict[str, Any] = json.loads(SEED.read_text())


def changed(path: str, value: Any) -> dict[str, Any]:
    """The seed with one field set, or deleted if the value is ``...``; path like links.0.a."""
    document = copy.deepcopy(DOCUMENT)
    *parents, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    at: Any = document
    for step in parents:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return document


def test_seed() -> None:
    topology = load(SEED)
    assert topology.names == ["R1", "R2", "R3", "R4", "R5", "R6", "dev1", "dev2"]
    assert topology.routers[0].system_id.hex() == DOCUMENT["routers"][0]["router_id_in_exabgp_json"]
    owners = {str(link.a_address): link.a for link in topology.links}
    owners |= {str(link.b_address): link.b for link in topology.links}
    peers = {link.prefix: {link.a, link.b} for link in topology.links}
    assert len(peers) == 8
    for router, far_address, neighbour, own_address in DOCUMENT["half_link_table"]:
        assert (owners[far_address], owners[own_address]) == (neighbour, router)


def test_optional_fields() -> None:
    document = changed("links.0.igp_metric", 7)
    document["links"][0] |= {"te_metric": 9, "bandwidth": 1_000_000, "delay_us": 250}
    link = parse(document).links[0]
    assert (link.igp_metric, link.te_metric, link.bandwidth, link.delay_us) == (7, 9, 1_000_000, 250)
    assert parse(changed("links.0.igp_metric", 7)).links[0].te_metric == 7


def test_parallel_links_and_no_end_hosts() -> None:
    document = changed("endpoints", [])
    extra = {"a": "R1", "b": "R2", "prefix": "10.1.2.0/31", "a_address": "10.1.2.0", "b_address": "10.1.2.1"}
    document["links"].append(extra)
    assert [(link.a, link.b) for link in parse(document).links].count(("R1", "R2")) == 2


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("routers", ..., "routers"),
        ("routers", {}, "routers"),
        ("routers", [], "routers"),
        ("links", None, "links"),
        ("endpoints", ..., "endpoints"),
        ("routers.0", "R1", "routers[0]"),
        ("routers.0.name", ..., "routers[0].name"),
        ("routers.0.name", "", "routers[0].name"),
        ("routers.0.name", "a b", "routers[0].name"),
        ("routers.0.name", 1, "routers[0].name"),
        ("routers.1.name", "R1", "routers[1].name"),
        ("routers.1.isis_system_id", "0000.1000.0001", "routers[1].isis_system_id"),
        ("routers.1.isis_system_id", "1", "routers[1].isis_system_id"),
        ("routers.1.isis_system_id", ..., "routers[1].isis_system_id"),
        ("links.0.a", "R9", "links[0].a"),
        ("links.0.a", ["R1"], "links[0].a"),
        ("links.0.b", "R1", "links[0].b"),
        ("links.0.b", "dev1", "links[0].b"),
        ("links.0.prefix", "10.1.1.1/31", "links[0].prefix"),
        ("links.0.prefix", "2001:db8::/64", "links[0].prefix"),
        ("links.0.prefix", 5, "links[0].prefix"),
        ("links.1.prefix", "10.1.1.0/31", "links[1].a_address"),
        ("links.0.a_address", "10.1.1.2", "links[0].a_address"),
        ("links.0.a_address", "10.1.1.1", "links[0].b_address"),
        ("links.0.b_address", "x", "links[0].b_address"),
        ("links.0.igp_metric", 0, "links[0].igp_metric"),
        ("links.0.igp_metric", True, "links[0].igp_metric"),
        ("links.0.igp_metric", 2**24 - 1, "links[0].igp_metric"),
        ("links.0.te_metric", "10", "links[0].te_metric"),
        ("links.0.bandwidth", -1, "links[0].bandwidth"),
        ("links.0.delay_us", 1.5, "links[0].delay_us"),
        ("endpoints.0.name", "R1", "endpoints[0].name"),
        ("endpoints.0.address", "20.0.0.3/30", "endpoints[0].address"),
        ("endpoints.0.address", "20.0.0.2", "endpoints[0].gateway"),
        ("endpoints.0.address", "20.0.0.300/30", "endpoints[0].address"),
        ("endpoints.0.gateway", "20.0.0.2", "endpoints[0].gateway"),
        ("endpoints.0.gateway", "20.0.0.9", "endpoints[0].gateway"),
        ("endpoints.0.attached_to", "dev2", "endpoints[0].attached_to"),
    ],
)
def test_broken_field_is_named(path: str, value: Any, field: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(changed(path, value))
    assert str(caught.value).startswith(f"{field} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("links.1.prefix", "10.1.1.0/29", "links[0].prefix 10.1.1.0/31 overlaps links[1].prefix"),
        ("endpoints.1.address", "20.0.0.6/29", "endpoints[0].address 20.0.0.0/30 overlaps endpoints[1].address"),
    ],
)
def test_overlapping_prefixes(path: str, value: str, sentence: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(changed(path, value))
    assert str(caught.value).startswith(sentence)


def test_loopback_range_is_ours() -> None:
    document = changed("endpoints.0.address", "10.255.0.2/30")
    document["endpoints"][0]["gateway"] = "10.255.0.1"
    with pytest.raises(TopologyError, match=r"endpoints\[0\]\.address 10\.255\.0\.0/30 overlaps the loopback range"):
        parse(document)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "{}", "[" * 100_000, '{"routers": [[]]}'])
def test_broken_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(TopologyError):
        load(path)


def test_no_such_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="No such file"):
        load(tmp_path / "missing.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(TopologyError, match="UTF-8"):
        load(tmp_path / "binary")
    with pytest.raises(TopologyError, match="Is a directory"):
        load(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    *("routers", "routers.0", "routers.0.name", "routers.0.isis_system_id"),
    *("links", "links.0", "endpoints", "endpoints.0"),
    *(f"links.0.{key}" for key in ("a", "b", "prefix", "a_address", "b_address", "igp_metric", "delay_us")),
    *(f"endpoints.0.{key}" for key in ("name", "address", "gateway", "attached_to")),
]


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_anywhere_is_either_fine_or_one_sentence(path: str, value: Any) -> None:
    with suppress(TopologyError):
        assert isinstance(parse(changed(path, value)), Topology)
