"""The lab's speaker, the real ExaBGP, the listener process and the drain: what a user sees of a network."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings

from core import drain
from core.scope import team_scope
from inventory.models import Device, HalfLink, Link, Prefix, TopologyEvent, TopologySource
from inventory.services import source_create, source_update
from inventory.tasks import mark_stale_sources
from tenancy.models import Team
from tests.inventory.conftest import wait_for
from tests.lab.conftest import Lab, running_lab

pytestmark = [pytest.mark.lab, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).parents[2]


class Listener:
    """`manage.py run listener`, which can be killed and started again; drains are run by us."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), "run", "listener"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        self.process.terminate()
        try:
            _, said = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return said


@pytest.fixture(scope="module")
def quiet_lab() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def lab(quiet_lab: Lab) -> Lab:
    quiet_lab.request("heal")
    return quiet_lab


@pytest.fixture
def listener(team: Team) -> Iterator[Listener]:
    process = Listener()
    yield process
    process.stop()


@pytest.fixture
def lab_source(team: Team, lab: Lab) -> TopologySource:
    with team_scope(team.pk):
        return source_create(name="lab", host="127.0.0.1", port=lab.bgp_port())


def team_of(source: TopologySource) -> int:
    assert source.team_id
    return source.team_id


def links(source: TopologySource) -> dict[str, str]:
    """Drain what has come, then the links by name."""
    drain.get("topology").run(team_of(source), source.pk)
    with team_scope(team_of(source)):
        return dict(Link.objects.values_list("name", "state"))


def state(source: TopologySource) -> str:
    drain.get("topology").run(team_of(source), source.pk)
    with team_scope(team_of(source)):
        found: str = TopologySource.objects.get(pk=source.pk).state
        return found


def problem(source: TopologySource) -> str:
    with team_scope(team_of(source)):
        found: str = TopologySource.objects.get(pk=source.pk).problem
        return found


ALL_UP = dict.fromkeys(["R1–R2", "R1–R3", "R2–R4", "R2–R5", "R3–R4", "R3–R5", "R4–R6", "R5–R6"], "up")

CUT = ALL_UP | {"R4–R6": "down"}
SEVEN = {name: state for name, state in CUT.items() if state == "up"}


def test_the_lab_is_discovered(lab_source: TopologySource, listener: Listener) -> None:
    wait_for(lambda: state(lab_source) == "live")
    assert links(lab_source) == ALL_UP
    with team_scope(team_of(lab_source)):
        assert list(Device.objects.order_by("sort_key").values_list("name", "up", "router_id")) == [
            (f"R{n}", True, f"10.255.0.{n}") for n in range(1, 7)
        ]
        assert HalfLink.objects.filter(up=True).count() == 16
        half = HalfLink.objects.get(local_address="10.1.1.4")
        assert (str(half), half.remote_address, half.interface.name) == ("R2→R4", "10.1.1.5", "10.1.1.4")
        assert (half.igp_metric, half.te_metric, half.delay_us) == (10, 10, 10)
        assert half.max_bandwidth == 1_250_000_000
        assert Prefix.objects.get(prefix="20.0.0.0/30").device.name == "R1"
        assert TopologyEvent.objects.filter(kind="link_up").count() == 8


def test_an_announced_cut_and_its_heal(lab: Lab, lab_source: TopologySource, listener: Listener) -> None:
    wait_for(lambda: state(lab_source) == "live")
    lab.request("cut", a="R2", b="R4")
    wait_for(lambda: links(lab_source) == ALL_UP | {"R2–R4": "down"})
    lab.request("heal")
    wait_for(lambda: links(lab_source) == ALL_UP)
    lab.request("cut", a="R5", b="R3", one_way=True)
    wait_for(lambda: links(lab_source) == ALL_UP | {"R3–R5": "down"})
    with team_scope(team_of(lab_source)):
        assert [str(half) for half in HalfLink.objects.filter(up=False)] == ["R5→R3"]


@pytest.mark.parametrize("victim", ["exabgp", "helper", "listener"])
def test_a_kill_ends_in_the_right_graph(victim: str, lab: Lab, lab_source: TopologySource, listener: Listener) -> None:
    """Something is killed at a moment nobody chose, and the network changes while nobody listens."""
    moment = random.uniform(0, 2)
    print(f"killed {moment:.3f} s after the first child")
    wait_for(listener.children)
    wait_for(lambda: links(lab_source) is not None)
    with suppress(AssertionError):
        wait_for(lambda: state(lab_source) == "live", hang=moment)
    if victim == "listener":
        listener.kill()
    else:
        pids = wait_for(listener.children)
        if victim == "helper":
            pids = [int(pid) for pid in Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    lab.request("cut", a="R4", b="R6")
    if victim == "listener":
        listener.start()
    # Where the kill came before the first announcement, the cut link was never heard of.
    wait_for(lambda: links(lab_source) in (CUT, SEVEN) and state(lab_source) == "live")


def test_nothing_outlives_a_killed_listener(lab_source: TopologySource, listener: Listener) -> None:
    pids = wait_for(listener.children)
    listener.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_an_unreachable_peer_is_one_clear_sentence(team: Team, lab: Lab, listener: Listener) -> None:
    with team_scope(team.pk):
        source = source_create(name="nobody", host="127.0.0.1", port=9)
    wait_for(lambda: problem(source))
    assert problem(source) == ("127.0.0.1 port 9 refuses connections: start the BGP speaker there or correct the port.")
    with team_scope(team.pk):
        source_update(source=source, port=lab.bgp_port())
    wait_for(lambda: state(source) == "live")
    assert problem(source) == ""
    said = listener.stop()
    assert said.count("refuses connections") == 1
    assert "Traceback" not in said


def test_a_wrong_as_is_named(team: Team, lab: Lab, listener: Listener) -> None:
    with team_scope(team.pk):
        source = source_create(name="as", host="127.0.0.1", port=lab.bgp_port(), local_as=65001, peer_as=65001)
    wait_for(lambda: "check the local and the peer AS" in problem(source))


def test_a_disabled_source_goes_stale_and_keeps_its_graph(lab_source: TopologySource, listener: Listener) -> None:
    wait_for(lambda: state(lab_source) == "live")
    with team_scope(team_of(lab_source)):
        source_update(source=lab_source, enabled=False, hold_time_s=3)
    wait_for(lambda: mark_stale_sources() or state(lab_source) == "stale")
    assert links(lab_source) == ALL_UP
    assert listener.children() == []
    with team_scope(team_of(lab_source)):
        source_update(source=lab_source, enabled=True)
    wait_for(lambda: state(lab_source) == "live")


def test_a_lost_peer_goes_stale_and_its_return_sweeps(team: Team, listener: Listener) -> None:
    with running_lab() as first:
        port = first.bgp_port()
        with team_scope(team.pk):
            source = source_create(name="lab", host="127.0.0.1", port=port, hold_time_s=3)
        wait_for(lambda: state(source) == "live")
    wait_for(lambda: mark_stale_sources() or state(source) == "stale")
    wait_for(lambda: "refuses connections" in problem(source))
    assert links(source) == ALL_UP
    with running_lab("--bgp", f"127.0.0.1:{port}") as second:
        second.request("cut", a="R4", b="R6")
        wait_for(lambda: links(source) == CUT and state(source) == "live")
        assert problem(source) == ""


def test_leftovers_of_a_run_are_removed(lab_source: TopologySource, listener: Listener) -> None:
    wait_for(lambda: state(lab_source) == "live")
    listener.stop()
    assert list(Path(settings.DATA, "run").glob("bgpls-*")) == []
