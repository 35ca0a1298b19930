"""Real packets through the lab: GRE walks from dev1, and what every kind of fault does to them."""

from __future__ import annotations

import struct
from itertools import pairwise

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.decap import GRE_IPV4, inner_packet
from tests.lab.conftest import Lab, pinned, wait_for
from tests.lab.vantage import ipv4, walk

pytestmark = pytest.mark.lab

LOOPS = [
    ("R1", "R2", "R4", "R3", "R1"),
    ("R1", "R3", "R4", "R2", "R1"),
    ("R1", "R2", "R5", "R3", "R1"),
    ("R1", "R3", "R5", "R2", "R1"),
    ("R1", "R2", "R4", "R6", "R5", "R3", "R1"),
    ("R1", "R3", "R5", "R6", "R4", "R2", "R1"),
]
HALF_LINKS = sorted({pair for loop in LOOPS for pair in pairwise(loop)})


def test_the_loops_cover_all_half_links() -> None:
    assert len(HALF_LINKS) == 16


def test_walk_of_the_reference_comes_back(lab: Lab) -> None:
    assert lab.passes("20.0.0.1", "10.1.1.1", "10.1.1.5", "10.1.1.13", "20.0.0.6")


def test_nine_layers(lab: Lab) -> None:
    loop = ("R1", "R3", "R5", "R2", "R4", "R6", "R5", "R3", "R1")
    hops = pinned(lab.topology, *loop)
    assert len(hops) == 9
    before = lab.request("status")["decapsulated"]
    assert lab.passes(*hops)
    after = lab.request("status")["decapsulated"]
    for router in set(loop):
        assert after[router]["packets"] - before[router]["packets"] == loop.count(router)


def test_every_node_decapsulates_at_every_address(lab: Lab) -> None:
    addresses = [str(address) for link in lab.topology.links for address in (link.a_address, link.b_address)]
    loopbacks = [str(router.loopback) for router in lab.topology.routers]
    targets = [*addresses, *loopbacks, "20.0.0.1", "20.0.0.5", "20.0.0.6"]
    assert lab.lost([[target] for target in targets], [False] * len(targets))


@pytest.mark.parametrize("half_link", HALF_LINKS, ids="-".join)
def test_silent_one_way_cut_stops_exactly_the_walks_over_it(lab: Lab, half_link: tuple[str, str]) -> None:
    lab.request("cut", a=half_link[0], b=half_link[1], one_way=True, silent=True)
    crossing = [half_link in pairwise(loop) for loop in LOOPS]
    assert lab.lost([pinned(lab.topology, *loop) for loop in LOOPS], crossing)


def test_silent_two_way_cut_stops_both_directions_and_heals(lab: Lab) -> None:
    lab.request("cut", a="R4", b="R2", silent=True)
    walks = [pinned(lab.topology, *loop) for loop in LOOPS]
    assert lab.lost(walks, [True, True, False, False, True, True])
    lab.request("heal", a="R2", b="R4")
    assert lab.lost(walks, [False] * 6)


def test_silent_cut_is_not_routed_around(lab: Lab) -> None:
    lab.request("cut", a="R1", b="R2", silent=True)
    assert lab.blocked("20.0.0.1", "10.255.0.2")


def test_announced_cut_is_routed_around_but_pinned_walks_stay_lost(lab: Lab) -> None:
    lab.request("cut", a="R1", b="R2")
    by_loopback, by_link = ["20.0.0.1", "10.255.0.2"], ["20.0.0.1", "10.1.1.1"]
    back = pinned(lab.topology, "R1", "R3", "R4", "R2", "R1")
    assert lab.lost([by_loopback, by_link, back], [False, True, True])
    lab.request("heal")
    assert lab.lost([by_loopback, by_link, back], [False] * 3)


@pytest.mark.parametrize("half_link", HALF_LINKS, ids="-".join)
def test_announced_cut_of_every_link_keeps_pinned_walks_lost_and_all_routers_reachable(
    lab: Lab, half_link: tuple[str, str]
) -> None:
    lab.request("cut", a=half_link[0], b=half_link[1])
    crossing = [bool({half_link, half_link[::-1]} & set(pairwise(loop))) for loop in LOOPS]
    anyway = [[str(router.loopback)] for router in lab.topology.routers] + [["20.0.0.6"]]
    assert lab.lost([pinned(lab.topology, *loop) for loop in LOOPS] + anyway, crossing + [False] * 7)


def test_announced_one_way_cut_leaves_the_other_direction(lab: Lab) -> None:
    lab.request("cut", a="R1", b="R2", one_way=True)
    walks = [
        ["20.0.0.1", "10.1.1.1"],
        pinned(lab.topology, "R1", "R3", "R4", "R2", "R1"),
        ["20.0.0.1", "10.255.0.2"],
    ]
    assert lab.lost(walks, [True, False, False])
    lab.request("cut", a="R2", b="R1", one_way=True)
    assert lab.lost(walks, [True, True, False])


def test_announced_cut_of_an_end_host(lab: Lab) -> None:
    lab.request("cut", a="dev2", b="R6")
    assert lab.blocked("20.0.0.6")
    lab.request("heal", a="R6", b="dev2")
    assert lab.passes("20.0.0.6")


def test_loss_is_partial_and_one_way(lab: Lab) -> None:
    assert lab.request("loss", a="R1", b="R2", percent=50, one_way=True)["directions"] == 1
    there, back = pinned(lab.topology, *LOOPS[0]), pinned(lab.topology, *LOOPS[1])
    batch, expected = [there] * 50 + [back] * 50, [False] * 50 + [True] * 50
    lost = [rtt is None for _ in range(8) for rtt in lab.walks(batch, expected)]
    there_lost = sum(sum(lost[start : start + 50]) for start in range(0, 800, 100))
    assert 120 < there_lost < 280  # of 400 at one half: eight standard deviations either way
    assert sum(lost) == there_lost


def test_loss_everywhere(lab: Lab) -> None:
    assert lab.request("loss", percent=100)["directions"] == 20
    assert lab.blocked("20.0.0.1")
    lab.request("loss", percent=0)
    assert lab.passes("20.0.0.1")


def test_delay_adds_up_and_is_one_way(lab: Lab) -> None:
    lab.request("delay", a="R1", b="R2", ms=40, one_way=True)
    lab.request("delay", a="R2", b="R4", ms=60)
    there, back = lab.walks([pinned(lab.topology, *LOOPS[0]), pinned(lab.topology, *LOOPS[1])], [True, True])
    assert there is not None
    assert back is not None
    assert there >= 0.100
    assert 0.060 <= back < there


def test_delayed_packets_arrive_in_order_of_their_due_time(lab: Lab) -> None:
    lab.request("delay", a="R1", b="R3", ms=200, one_way=True)
    lab.request("delay", a="R1", b="R2", ms=20, one_way=True)
    slow, quick = lab.walks([["20.0.0.1", "10.1.1.3"], ["20.0.0.1", "10.1.1.1"]], [True, True])
    assert slow is not None
    assert quick is not None
    assert quick < slow


STEPS = st.lists(
    st.tuples(st.sampled_from(["cut", "cut", "heal"]), st.sampled_from(HALF_LINKS), st.booleans(), st.booleans()),
    min_size=1,
    max_size=10,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_any_sequence_of_cuts_and_heals_ends_in_the_right_network(
    _module_lab: Lab, steps: list[tuple[str, tuple[str, str], bool, bool]]
) -> None:
    lab = _module_lab
    lab.request("heal")
    cut: dict[tuple[str, str], bool] = {}  # half-link -> announced
    for cmd, (a, b), one_way, silent in steps:
        lab.request(cmd, a=a, b=b, one_way=one_way, **({"silent": silent} if cmd == "cut" else {}))
        for half_link in [(a, b)] if one_way else [(a, b), (b, a)]:
            if cmd == "cut":
                cut[half_link] = cut.get(half_link, False) or not silent
            else:
                cut.pop(half_link, None)
    walks = [pinned(lab.topology, *loop) for loop in LOOPS]
    lost = [any(half_link in cut for half_link in pairwise(loop)) for loop in LOOPS]
    if all(cut.values()):  # what routing knows of, it goes around
        graph: networkx.Graph[str] = networkx.Graph(
            pair for pair in HALF_LINKS if pair not in cut and pair[::-1] not in cut
        )
        graph.add_nodes_from(router.name for router in lab.topology.routers)
        walks += [[str(router.loopback)] for router in lab.topology.routers]
        lost += [not networkx.has_path(graph, "R1", router.name) for router in lab.topology.routers]
    assert lab.lost(walks, lost)


SOUND = walk("20.0.0.2", [], b"12345678")
BAD_GRE = {
    "checksum flag": b"\x80\x00\x08\x00" + bytes(4) + SOUND,
    "key flag": b"\x20\x00\x08\x00" + bytes(4) + SOUND,
    "version 1": b"\x00\x01\x08\x00" + SOUND,
    "IPv6 inside": b"\x00\x00\x86\xdd" + b"\x60" + bytes(39),
    "not IPv4 inside": GRE_IPV4 + b"\x60" + bytes(39),
    "no inner packet": GRE_IPV4,
    "half an inner header": GRE_IPV4 + SOUND[:10],
    "half a GRE header": b"\x00\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("payload", BAD_GRE.values(), ids=BAD_GRE)
def test_bad_gre_is_dropped_and_counted(lab: Lab, payload: bytes) -> None:
    before = lab.request("status")["decapsulated"]["R1"]["dropped"]
    lab.send(ipv4("20.0.0.2", "20.0.0.1", 47, payload))
    wait_for(lambda: lab.request("status")["decapsulated"]["R1"]["dropped"] == before + 1)
    assert lab.passes("20.0.0.1")


def test_wire_counts_packets_and_drops(lab: Lab) -> None:
    def wire() -> dict[str, int]:
        status = lab.request("status")["wires"][0]["a_to_b"]
        return {key: status[key] for key in ("packets", "dropped")}

    before = wire()
    assert lab.passes("20.0.0.1", "10.1.1.1")
    lab.request("cut", a="R1", b="R2", silent=True, one_way=True)
    assert lab.blocked("20.0.0.1", "10.1.1.1")
    assert wire() == {"packets": before["packets"] + 2, "dropped": before["dropped"] + 1}


@given(st.binary(max_size=80))
def test_decapsulation_of_anything(data: bytes) -> None:
    inner = inner_packet(memoryview(data))
    assert inner is None or (data.endswith(bytes(inner)) and len(inner) >= 20 and inner[0] >> 4 == 4)


@given(st.integers(5, 15), st.binary(min_size=19, max_size=60))
def test_decapsulation_minds_ip_options(words: int, rest: bytes) -> None:
    header = struct.pack("!B", 0x40 | words) + bytes(words * 4 - 1)
    inner = inner_packet(memoryview(header + GRE_IPV4 + b"\x45" + rest))
    assert inner is not None
    assert bytes(inner) == b"\x45" + rest
