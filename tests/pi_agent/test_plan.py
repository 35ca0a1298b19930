from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_agent.prober.plan import Plan, PlanError, Walk, check_template
from tests.pi_agent.packets import AGENT, HOPS, PORT, ipv4, template, udp, walk
from tests.pi_agent.test_frames import junk

hop = st.integers(0x0A000000, 0x0AFFFFFF).map(lambda n: ".".join(str(b) for b in n.to_bytes(4)))
walks = st.builds(
    walk,
    number=st.integers(0, 2**32 - 1),
    rate=st.floats(0.001, 100),
    agent=hop,
    hops=st.lists(hop, max_size=6).map(tuple),
)
plans = st.builds(
    Plan,
    version=st.integers(0, 2**32 - 1),
    walks=st.lists(walks, max_size=5, unique_by=lambda w: w.id).map(tuple),
    timeout_ms=st.integers(1, 10_000),
    report_ms=st.integers(10, 60_000),
)


@given(plans)
def test_a_plan_comes_back_from_its_json(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan


@given(plans, st.data())
def test_no_field_of_a_plan_can_break_its_reader(plan: Plan, data: st.DataObject) -> None:
    fields = json.loads(plan.to_json())
    where = data.draw(st.sampled_from([fields, *fields["walks"]]))
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(junk)
    with contextlib.suppress(PlanError):
        Plan.from_json(json.dumps(fields).encode())


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_plan_error(payload: bytes) -> None:
    with contextlib.suppress(PlanError):
        Plan.from_json(payload)


@given(st.data())
def test_no_template_raises_anything_but_plan_error(data: st.DataObject) -> None:
    packet = bytearray(template())
    for _ in range(data.draw(st.integers(0, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(packet[: data.draw(st.integers(0, len(packet)))])
    with contextlib.suppress(PlanError):
        check_template(cut, data.draw(st.integers(0, 200)), PORT)


def test_templates_with_options_ip_in_ip_or_no_tunnel_are_fine() -> None:
    for packet in (
        template(options=b"\x01\x01\x01\x00"),
        template(hops=()),
        ipv4(4, AGENT, HOPS[0], template(hops=())),
        ipv4(17, AGENT, AGENT, udp(body=bytes(100))),
    ):
        check_template(packet, packet.index(udp()[:4]) + 8, PORT)


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "not IPv4"),
        (b"\x60" + bytes(60), "not IPv4"),
        (template()[:-1], "wrong length"),
        (template() + b"\0", "wrong length"),
        (ipv4(6, AGENT, AGENT, bytes(40)), "protocol 6"),
        (ipv4(47, AGENT, HOPS[0], b"\x20\x00\x08\x00" + bytes(4) + template()), "GRE options"),
        (ipv4(47, AGENT, HOPS[0], b"\x00\x00\x86\xdd" + bytes(40)), "inside GRE"),
        (ipv4(17, AGENT, "10.0.0.1", udp()), "one and the same address"),
        (ipv4(47, "9.9.9.9", HOPS[0], b"\x00\x00\x08\x00" + template()), "one and the same address"),
        (ipv4(17, AGENT, AGENT, udp(port=53)), "port 3000"),
        (ipv4(17, AGENT, AGENT, udp(check=1)), "checksum 0"),
        (ipv4(17, AGENT, AGENT, udp(body=bytes(23))), "24 bytes"),
        (template(hops=("224.0.0.1",)), "224.0.0.1 is multicast"),
        (template(hops=("255.255.255.255",)), "255.255.255.255"),
        (template(hops=("127.0.0.1",)), "loopback"),
        (template(hops=("10.1.1.1", "169.254.169.254")), "link-local"),
        (template(hops=("0.0.0.0",)), "0.0.0.0"),
        (template()[:6] + b"\x20\x00" + template()[8:], "fragment"),
    ],
)
def test_a_hostile_template_is_refused(packet: bytes, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        Plan.from_json(Plan(1, (Walk(1, 1, packet or b"\0", len(packet) - 24 if len(packet) > 24 else 0),)).to_json())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rate": 0}, "walk 1: rate must be a number from 0.001 to 10000"),
        ({"rate": -1}, "rate"),
        ({"rate": 1e-320}, "rate"),
        ({"rate": 10_001}, "rate"),
        ({"rate": 10**400}, "rate"),
        ({"rate": True}, "rate"),
        ({"rate": "5"}, "rate"),
        ({"id": -1}, "id"),
        ({"id": 1.0}, "id"),
        ({"template": "%%%"}, "template must be base64"),
        ({"template": 7}, "template"),
        ({"payload_offset": 0}, "payload_offset"),
        ({"payload_offset": 97}, "payload_offset"),
        ({"payload_offset": 10**9}, "payload_offset"),
    ],
)
def test_a_hostile_walk_is_refused(change: dict[str, Any], why: str) -> None:
    fields = json.loads(Plan(1, (walk(1),)).to_json())
    fields["walks"][0] |= change
    with pytest.raises(PlanError, match=why):
        Plan.from_json(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan(1, (walk(1), walk(1))), "twice"),
        (Plan(1, tuple(walk(n, 6000) for n in (1, 2))), "12000 probes a second"),
        (Plan(1, (walk(1),), receive_port=3001), "port 3001"),
        (Plan(1, receive_port=0), "receive_port"),
        (Plan(1, timeout_ms=0), "timeout_ms"),
        (Plan(1, report_ms=0), "report_ms"),
        (Plan(-1), "version"),
    ],
)
def test_a_hostile_plan_is_refused(plan: Plan, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        Plan.from_json(plan.to_json())
