"""The real ExaBGP against the lab's speaker: everything it says about a cut and a heal."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.topology import Topology
from tests.lab.conftest import HANG, Lab, running_lab, wait_for

pytestmark = pytest.mark.lab

CONFIG = """
process reader {{ run {python} {reader} {lines}; encoder json; }}
neighbor 127.0.0.1 {{
    router-id 127.0.0.2; local-address 127.0.0.1; local-as {asn}; peer-as 65000; hold-time 3; connect {port};
    family {{ bgp-ls bgp-ls; }}
    api {{ processes [ reader ]; neighbor-changes; receive {{ parsed; update; }} }}
}}
"""
READER = """
import sys
with open(sys.argv[1], "a", buffering=1) as out:
    for line in sys.stdin:
        out.write(line)
"""
Table = dict[str, tuple[Any, Any]]
"""Text of the NLRI without its next hop -> NLRI, attributes."""


def find(pairs: object, key: str) -> Any:
    """The only value of a key anywhere below, in objects kept as pairs (ExaBGP repeats keys)."""
    found = list(_walk(pairs, key))
    return found[0] if found else None


def _walk(value: object, key: str) -> Iterator[Any]:
    if isinstance(value, tuple):
        for name, inner in value:
            if name == key:
                yield inner
            else:
                yield from _walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, key)


class Exabgp:
    """A real ExaBGP; ``table`` is what its JSON lines amount to."""

    def __init__(self, folder: Path, port: int, asn: int = 65000) -> None:
        self.lines = folder / "lines.jsonl"
        self.lines.touch()
        reader, config = folder / "reader.py", folder / "exabgp.conf"
        reader.write_text(READER)
        config.write_text(CONFIG.format(python=sys.executable, reader=reader, lines=self.lines, port=port, asn=asn))
        environment = {
            **os.environ,
            "exabgp_daemon_user": getpass.getuser(),
            "exabgp_daemon_drop": "false",
            "exabgp_api_ack": "false",
            "exabgp_api_cli": "false",
        }
        program = Path(sys.executable).with_name("exabgp")
        self.log = (folder / "exabgp.log").open("wb")
        self.process = subprocess.Popen(
            [str(program), "server", str(config)], env=environment, stdout=self.log, stderr=self.log
        )

    def messages(self) -> list[Any]:
        text = self.lines.read_text().rpartition("\n")[0]
        return [json.loads(line, object_pairs_hook=tuple) for line in text.splitlines()]

    def states(self) -> list[str]:
        return [state for message in self.messages() if (state := find(message, "state"))]

    def ended(self) -> bool:
        return any(find(message, "eor") for message in self.messages())

    def table(self) -> Table:
        table: Table = {}
        for message in self.messages():
            for nlri in find(find(message, "announce"), "192.0.2.1") or []:
                table[nlri_key(nlri)] = nlri, find(message, "bgp-ls")
            for nlri in find(find(message, "withdraw"), "bgp-ls bgp-ls") or []:
                table.pop(nlri_key(nlri))
        return table

    def stop(self) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(HANG)
        self.process.kill()
        self.log.close()


def nlri_key(nlri: tuple[tuple[str, Any], ...]) -> str:
    return repr([(key, value) for key, value in nlri if key != "nexthop"])


def wait_for_change(exabgp: Exabgp, before: Table) -> Table:
    wait_for(lambda: exabgp.table() != before)
    return exabgp.table()


def exabgp_id(system_id: bytes) -> str:
    return system_id.hex()


@pytest.fixture(scope="module")
def quiet_lab() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def exabgp(quiet_lab: Lab, state: Path) -> Iterator[Exabgp]:
    """With everything announced to it."""
    quiet_lab.request("heal")
    peer = Exabgp(state, quiet_lab.bgp_port())
    wait_for(peer.ended)
    yield peer
    peer.stop()


def half_link(topology: Topology, near: str, far: str) -> tuple[str, str, str, str]:
    ids = {router.name: exabgp_id(router.system_id) for router in topology.routers}
    for link in topology.links:
        ends = {link.a: str(link.a_address), link.b: str(link.b_address)}
        if ends.keys() == {near, far}:
            return ids[near], ids[far], ends[near], ends[far]
    raise AssertionError


def half_links(table: Table) -> dict[tuple[str, str, str, str], Any]:
    found = {}
    for nlri, attributes in table.values():
        if find(nlri, "ls-nlri-type") == "bgpls-link":
            local, remote = find(nlri, "local-node-descriptors"), find(nlri, "remote-node-descriptors")
            addresses = find(nlri, "interface-addresses")[0], find(nlri, "neighbor-addresses")[0]
            found[find(local, "router-id"), find(remote, "router-id"), *addresses] = attributes
    return found


def test_initial_dump_is_the_whole_lab(quiet_lab: Lab, exabgp: Exabgp) -> None:
    topology = quiet_lab.topology
    last = exabgp.messages()[-1]
    assert find(last, "eor") == (("afi", "bgp-ls"), ("safi", "bgp-ls"))
    table = exabgp.table()
    nodes, prefixes = {}, set()
    for nlri, attributes in table.values():
        assert find(nlri, "protocol-id") == 2
        assert find(nlri, "autonomous-system") == 65000
        if find(nlri, "ls-nlri-type") == "bgpls-node":
            nodes[find(nlri, "router-id")] = attributes
        elif find(nlri, "ls-nlri-type") == "bgpls-prefix-v4":
            prefixes.add((find(nlri, "router-id"), find(nlri, "ip-reach-prefix"), find(attributes, "prefix-metric")))
    assert {key: dict(value) for key, value in nodes.items()} == {
        exabgp_id(router.system_id): {"node-name": router.name, "local-te-router-ids": [str(router.loopback)]}
        for router in topology.routers
    }
    ids = {router.name: exabgp_id(router.system_id) for router in topology.routers}
    assert prefixes == (
        {(ids[router.name], f"{router.loopback}/32", 0) for router in topology.routers}
        | {(ids[end], str(link.prefix), 10) for link in topology.links for end in (link.a, link.b)}
        | {(ids["R1"], "20.0.0.0/30", 10), (ids["R6"], "20.0.0.4/30", 10)}
    )
    assert len(table) == 6 + 16 + len(prefixes)


def test_half_links_carry_all_attributes(quiet_lab: Lab, exabgp: Exabgp) -> None:
    topology = quiet_lab.topology
    found = half_links(exabgp.table())
    pairs = [pair for link in topology.links for pair in ((link.a, link.b), (link.b, link.a))]
    assert found.keys() == {half_link(topology, *pair) for pair in pairs}
    loopbacks = {exabgp_id(router.system_id): str(router.loopback) for router in topology.routers}
    labels: dict[str, list[int]] = {}
    for (local, remote, *_addresses), attributes in found.items():
        assert find(attributes, "local-te-router-ids") == [loopbacks[local]]
        assert find(attributes, "remote-te-router-id") == loopbacks[remote]
        assert find(attributes, "igp-metric") == 10
        assert find(attributes, "te-metric") == 10
        assert find(attributes, "maximum-link-bandwidth") == 1_250_000_000.0
        assert find(attributes, "generic-lsid-1114") == ["0x0000000A"]
        sid = find(attributes, "sr-adj")
        assert (find(sid, "V"), find(sid, "L")) == (1, 1)
        labels.setdefault(local, []).extend(find(sid, "sids"))
    assert all(len(set(own)) == len(own) for own in labels.values())


def test_announced_cut_withdraws_and_heal_announces_again(quiet_lab: Lab, exabgp: Exabgp) -> None:
    whole = exabgp.table()
    both = {half_link(quiet_lab.topology, "R2", "R4"), half_link(quiet_lab.topology, "R4", "R2")}
    quiet_lab.request("cut", a="R2", b="R4")
    cut = wait_for_change(exabgp, whole)
    assert half_links(whole).keys() - half_links(cut).keys() == both
    gone = [key for key in whole.keys() - cut.keys() if "bgpls-prefix" in key]
    assert len(gone) == 2
    assert all("10.1.1.4/31" in key for key in gone)
    quiet_lab.request("heal", a="R2", b="R4")
    wait_for(lambda: exabgp.table() == whole)


def test_one_way_announced_cut_withdraws_one_half_link(quiet_lab: Lab, exabgp: Exabgp) -> None:
    whole = exabgp.table()
    quiet_lab.request("cut", a="R5", b="R3", one_way=True)
    cut = wait_for_change(exabgp, whole)
    (gone,) = whole.keys() - cut.keys()
    assert half_links({gone: whole[gone]}).keys() == {half_link(quiet_lab.topology, "R5", "R3")}
    quiet_lab.request("heal")
    wait_for(lambda: exabgp.table() == whole)


def test_silent_faults_say_nothing(quiet_lab: Lab, exabgp: Exabgp) -> None:
    before = len(exabgp.messages())
    quiet_lab.request("cut", a="R1", b="R2", silent=True)
    quiet_lab.request("loss", percent=5)
    quiet_lab.request("delay", ms=5)
    quiet_lab.request("cut", a="R1", b="R3")
    wait_for(lambda: len(exabgp.messages()) > before)
    assert half_link(quiet_lab.topology, "R1", "R2") in half_links(exabgp.table())
    assert half_link(quiet_lab.topology, "R1", "R3") not in half_links(exabgp.table())


def test_a_peer_that_comes_late_hears_of_the_cut(quiet_lab: Lab, exabgp: Exabgp, state: Path) -> None:
    quiet_lab.request("cut", a="R4", b="R6")
    (state / "late").mkdir()
    late = Exabgp(state / "late", quiet_lab.bgp_port())
    try:
        wait_for(late.ended)
        assert len(half_links(late.table())) == 14
        peers = quiet_lab.request("status")["bgp"]["peers"]
        assert [peer["state"] for peer in peers] == ["Established"] * 2
    finally:
        late.stop()


def test_session_outlives_its_hold_time(quiet_lab: Lab, exabgp: Exabgp) -> None:
    def keepalives() -> int:
        return (exabgp.lines.parent / "exabgp.log").read_bytes().count(b"receive-keepalive")

    wait_for(lambda: keepalives() >= 5)  # one a second
    assert exabgp.states() == ["connected", "up"]


def test_end_of_the_lab_ends_the_session(state: Path) -> None:
    with running_lab() as lab:
        peer = Exabgp(state, lab.bgp_port())
        wait_for(peer.ended)
    try:
        wait_for(lambda: "down" in peer.states())
    finally:
        peer.stop()


def test_another_as_is_refused(quiet_lab: Lab, state: Path) -> None:
    peer = Exabgp(state, quiet_lab.bgp_port(), asn=65001)
    try:
        wait_for(lambda: "down" in peer.states())
        assert "up" not in peer.states()
        assert "notification received (2,2)" in [find(message, "reason") for message in peer.messages()]
    finally:
        peer.stop()
