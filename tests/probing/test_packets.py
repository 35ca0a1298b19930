"""Templates against Scapy: what it dissects, what it would have built, and the reference's example."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw

from inventory.paths import all_simple, path_nodes
from pi_agent.prober.plan import MAGIC, PAYLOAD, check_template
from probing.packets import TemplateError, compile_walk, packet_size
from probing.planning import one_way_hops, plan_walks, walk_hops
from tests.seed import LAB, seed_graph

addresses = st.ip_addresses(v=4).map(str)


def headers(packet: bytes) -> list[Packet]:
    """The IPv4 headers that Scapy sees, outermost first."""
    found: list[Packet] = []
    layer: Packet | None = IP(packet)
    while layer is not None:
        if isinstance(layer, IP):
            found.append(layer)
        layer = layer.payload or None
    return found


def built(hops: list[str], source: str, port: int, walk_id: int) -> bytes:
    """The same packet, every layer and checksum by Scapy."""
    payload = PAYLOAD.pack(MAGIC, 0, walk_id, 0, 0)
    packet = IP(src=source, dst=source, flags="DF", ttl=64) / UDP(sport=port, dport=port, chksum=0) / Raw(payload)
    for hop in reversed(hops):
        packet = IP(src=source, dst=hop, flags="DF", ttl=64) / GRE() / packet
    return bytes(packet)


@settings(max_examples=40)
@given(
    st.lists(addresses, min_size=1, max_size=16),
    addresses,
    st.integers(1, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
)
def test_a_template_is_what_scapy_would_have_built(hops: list[str], source: str, port: int, walk_id: int) -> None:
    template = compile_walk(hops, source, port, walk_id)
    assert template.packet == built(hops, source, port, walk_id)
    assert len(template.packet) == packet_size(len(hops)) == template.payload_offset + PAYLOAD.size


def test_scapy_dissects_exactly_these_layers() -> None:
    hops = ["10.1.1.1", "10.1.1.5", "10.1.1.4"]
    template = compile_walk(hops, "20.0.0.2", 3000, 7)
    assert [layer.__name__ for layer in IP(template.packet).layers()] == [*["IP", "GRE"] * 3, "IP", "UDP", "Raw"]
    assert [header.dst for header in headers(template.packet)] == [*hops, "20.0.0.2"]
    for header in headers(template.packet):
        assert (header.src, header.ttl, str(header.flags)) == ("20.0.0.2", 64, "DF")
        rebuilt = header.copy()
        del rebuilt.chksum
        assert IP(bytes(rebuilt)).chksum == header.chksum
    datagram = IP(template.packet)[UDP]
    assert (datagram.dport, datagram.chksum, datagram.len) == (3000, 0, 8 + PAYLOAD.size)
    assert PAYLOAD.unpack_from(template.packet, template.payload_offset) == (MAGIC, 0, 7, 0, 0)


def test_the_one_way_style_is_the_probe_of_the_reference() -> None:
    graph = seed_graph()
    (path,) = [its for its in all_simple(graph, "R1", "R6").paths if path_nodes(its) == ["R1", "R2", "R4", "R6"]]
    hops = one_way_hops(graph, path, "20.0.0.1", "20.0.0.6")
    destinations = [header.dst for header in headers(compile_walk(hops, "20.0.0.2", 3000, 1).packet)]
    assert destinations == LAB["probe_example"]["ip_destinations"]


def test_the_prober_accepts_every_walk_of_the_lab() -> None:
    graph = seed_graph()
    for walk in plan_walks(graph, "R1", "R6", all_simple(graph, "R1", "R6").paths).walks:
        template = compile_walk(walk_hops(graph, walk), "20.0.0.2", 3000, 1)
        check_template(template.packet, template.payload_offset, 3000)
        assert len(headers(template.packet)) == len(walk.edges) + 1


@pytest.mark.parametrize("wrong", ["", "10.1.1", "2001:db8::1", "R4"])
def test_an_address_it_cannot_pin_is_named(wrong: str) -> None:
    with pytest.raises(TemplateError, match=f"^'{wrong}' is no IPv4 address"):
        compile_walk(["10.1.1.1", wrong], "20.0.0.2", 3000, 1)
    with pytest.raises(TemplateError, match=f"^'{wrong}' is no IPv4 address"):
        compile_walk(["10.1.1.1"], wrong, 3000, 1)


def test_a_walk_to_nowhere_is_refused() -> None:
    with pytest.raises(TemplateError, match="at least one hop"):
        compile_walk([], "20.0.0.2", 3000, 1)
