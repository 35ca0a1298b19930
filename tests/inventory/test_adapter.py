"""What the adapter makes of ExaBGP's lines: a real dump, its quirks, and anything a hostile router may say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.bgpls import adapter
from inventory.bgpls.adapter import Down, EndOfRib, HalfLinkUp, NodeUp, PrefixUp, Seen, SessionDown, SessionUp
from tests.inventory import lines

SAMPLE = Path(__file__).with_name("exabgp_sample.jsonl").read_text().splitlines()
LINK = lines.link(1, 2, ("10.0.0.0", "10.0.0.1"), sids=[24000, 24001], delay=10)


def only(line: str) -> adapter.Event:
    (event,), malformed = adapter.parse(line)
    assert malformed == 0
    return event


def half_link(nlri: lines.Nlri) -> HalfLinkUp:
    event = only(lines.announce(nlri))
    assert isinstance(event, HalfLinkUp)
    return event


def test_a_real_dump() -> None:
    """ExaBGP 5.0.15 against the lab: dump, End-of-RIB, a cut, its heal, a one-way cut, its heal, the end."""
    parsed = [adapter.parse(line) for line in SAMPLE]
    assert sum(malformed for _, malformed in parsed) == 0
    events = [event for found, _ in parsed for event in found]
    assert Counter(type(event).__name__ for event in events) == Counter(
        SessionUp=1, NodeUp=6, HalfLinkUp=16 + 3, PrefixUp=24 + 2, EndOfRib=1, Down=5, SessionDown=1
    )
    first = next(event for event in events if isinstance(event, HalfLinkUp))
    assert (first.local.igp_router_id, first.remote.igp_router_id) == ("000010000001", "000010000002")
    assert (first.local_address, first.remote_address) == ("10.1.1.0", "10.1.1.1")
    assert (first.igp_metric, first.te_metric, first.max_bandwidth) == (10, 10, 1.25e9)
    assert (first.delay_us, first.adjacency_sids) == (10, (24000,))
    nodes = [event for event in events if isinstance(event, NodeUp)]
    assert [(event.name, event.router_id) for event in nodes] == [(f"R{n}", f"10.255.0.{n}") for n in range(1, 7)]
    announced = {event.key for event in events if isinstance(event, NodeUp | HalfLinkUp | PrefixUp)}
    assert len(announced) == 6 + 16 + 24
    assert {event.key for event in events if isinstance(event, Down)} < announced


def test_repeated_keys_are_all_kept() -> None:
    assert half_link(LINK).adjacency_sids == (24000, 24001)


def test_a_withdrawal_has_the_key_of_its_announcement() -> None:
    for nlri in (LINK, lines.node(1), lines.prefix(1, "10.0.0.0/24")):
        announced, withdrawn = only(lines.announce(nlri)), only(lines.withdraw(nlri))
        assert isinstance(withdrawn, Down)
        assert isinstance(announced, NodeUp | HalfLinkUp | PrefixUp)
        assert withdrawn.key == announced.key


def test_the_anomalous_flag_is_not_part_of_the_delay() -> None:
    assert half_link(lines.link(1, 2, delay=0x8000_0064)).delay_us == 100


def test_a_discarded_attribute_is_no_change() -> None:
    assert only(lines.announce(LINK, error="discard due to BGP-LS")) == Seen("half_link", half_link(LINK).key)


def test_treat_as_withdraw_is_a_withdrawal() -> None:
    assert only(lines.announce(LINK, error="treat-as-withdraw")) == only(lines.withdraw(LINK))


def test_parallel_links_and_directions_have_keys_of_their_own() -> None:
    nlris = [
        *lines.both(1, 2, 0),
        *lines.both(1, 2, 1),
        lines.link(1, 2),
        lines.link(1, 2, ids=(1, 2)),
        lines.link(1, 2, ids=(2, 1)),
    ]
    assert len({half_link(nlri).key for nlri in nlris}) == 7


def test_unnumbered_links_are_known_by_their_identifiers() -> None:
    event = half_link(lines.link(1, 2, ids=(7, 9)))
    assert (event.local_address, event.local_id, event.remote_id) == (None, 7, 9)


def test_a_pseudonode_is_a_node_of_its_own() -> None:
    plain, lan = lines.node(1), lines.node(1).text.replace('"}', '", "psn": "2"}')
    router, pseudonode = only(lines.announce(plain)), only(lines.announce(lines.Nlri(lan)))
    assert isinstance(router, NodeUp)
    assert isinstance(pseudonode, NodeUp)
    assert router.key != pseudonode.key
    assert pseudonode.node.igp_router_id == f"{router.node.igp_router_id}.2"


def test_instances_and_protocols_are_apart() -> None:
    text = lines.node(1).text
    others = [text, text.replace('"protocol-id": 2', '"protocol-id": 3'), text.replace('topology": 0', 'topology": 5')]
    keys = {event.key for other in others if isinstance(event := only(lines.announce(lines.Nlri(other))), NodeUp)}
    assert len(keys) == 3


def test_session_states() -> None:
    assert only(lines.up()) == SessionUp()
    assert only(lines.down("closing\n connection")) == SessionDown("closing connection")
    assert only(lines.end_of_rib()) == EndOfRib()
    assert adapter.parse(SAMPLE[0]) == ([], 0)  # connected, not yet up


def test_one_bad_nlri_spoils_only_itself() -> None:
    bad = lines.Nlri(LINK.text.replace("10.0.0.0", "10.0.0.999"), LINK.attribute)
    events, malformed = adapter.parse(lines.announce(LINK, bad, lines.link(1, 3)))
    assert (len(events), malformed) == (2, 1)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("R1\u0000\u001b[31m", "R1 [31m"),
        ("a\u202eb\u2028c\ud800", "a b c"),
        ("x" * 500, "x" * 120),
        ("\n\t ", ""),
        ("Zürich-1", "Zürich-1"),
    ],
)
def test_names_are_cleaned(name: str, shown: str) -> None:
    event = only(lines.announce(lines.node(1, name)))
    assert isinstance(event, NodeUp)
    assert event.name == shown


@pytest.mark.parametrize(
    "value", ["-1", "4294967296", "1e400", '"10"', "true", "[]", "{}", "NaN", "9" * 5000], ids=lambda text: text[:12]
)
def test_numbers_out_of_range_are_malformed(value: str) -> None:
    nlri = lines.Nlri(LINK.text, f'"igp-metric": {value}')
    assert adapter.parse(lines.announce(nlri)) == ([], 1)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1.0", "1e999", '"x"', "null"])
def test_a_bandwidth_that_is_none_is_left_out(value: str) -> None:
    assert half_link(lines.Nlri(LINK.text, f'"maximum-link-bandwidth": {value}')).max_bandwidth is None


def test_depth_does_not_matter() -> None:
    assert adapter.parse("[" * 200_000) == ([], 1)


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    events, malformed = adapter.parse(data.decode(errors="replace"))
    assert (events, malformed) == ([], 0) or malformed == 1


@given(st.data())
def test_no_damage_to_a_real_line_raises(data: st.DataObject) -> None:
    """Cut out, doubled or overwritten anywhere."""
    line = data.draw(st.sampled_from(SAMPLE))
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, min(len(line), start + 60)))
    adapter.parse(
        line[:start] + data.draw(st.sampled_from(["", line[start:end] * 2]) | st.text(max_size=20)) + line[end:]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_no_type_in_any_place_raises(data: st.DataObject) -> None:
    """Any value of a real line replaced by any other JSON: its events stay storable, whatever they say."""
    message = json.loads(data.draw(st.sampled_from(SAMPLE)))
    holder = message
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.integers(0, 9)) == 0:
            break
        holder = holder[key]
    holder[key] = data.draw(JSON)
    for event in adapter.parse(json.dumps(message))[0]:
        if isinstance(event, NodeUp | HalfLinkUp | PrefixUp):
            assert len(event.key) <= 200
            assert event.key.isprintable()
        if isinstance(event, HalfLinkUp):
            assert 0 <= event.igp_metric < 2**32
