"""The seed lab as rows, and a prober in simulated time over links that are cut or lossy.

Outcomes are computed: a probe comes back if every directed link of its walk lets it pass. They go through the agent's
own tally and report format, the inbox and the drain.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path as File
from typing import Any

from django.utils import timezone

from agents.models import Agent
from agents.services import agent_create
from core import drain
from core.scope import current_team_id
from inventory import graph
from inventory.models import (
    Device,
    Endpoint,
    HalfLink,
    Interface,
    Link,
    Prefix,
    Topology,
    TopologySource,
    sorted_name,
)
from pi_agent.prober.report import Report, encode
from pi_agent.prober.tally import Tally
from probing.models import Campaign, Path, ReportBatch
from probing.services import campaign_create
from ticketing.models import Incident

SEED = json.loads((File(__file__).parents[2] / "lab" / "seed_lab.json").read_text())
LINKS = [(link["a"], link["b"]) for link in SEED["links"]]
DIRECTIONS = [*LINKS, *((b, a) for a, b in LINKS)]
TICK = 50_000_000
REPORT = 250_000_000
TIMEOUT = 500_000_000


def seed_network() -> None:
    """The seed lab's topology, in scope."""
    graph._kept.clear()  # of a team with this id in an earlier test
    now = timezone.now()
    source = TopologySource.objects.create(name="rr", host="127.0.0.1")
    devices = {
        router["name"]: Device.objects.create(
            **sorted_name(router["name"]),
            source=source,
            key=router["name"],
            igp_router_id=router["isis_system_id"],
            router_id=f"10.255.0.{number}",
            changed=now,
        )
        for number, router in enumerate(SEED["routers"], 1)
    }
    for each in SEED["links"]:
        a, b = devices[each["a"]], devices[each["b"]]
        link = Link.objects.create(
            **sorted_name(f"{a}–{b}"), key=each["prefix"], a_device=a, z_device=b, state="up", changed=now
        )
        ends = ((a, each["a_address"]), (b, each["b_address"]))
        for (near, local), (far, remote) in (ends, ends[::-1]):
            interface = Interface.objects.create(device=near, name=local, address=local)
            HalfLink.objects.create(
                source=source,
                key=f"{local}-{remote}",
                device=near,
                remote_device=far,
                interface=interface,
                link=link,
                local_address=local,
                remote_address=remote,
                changed=now,
            )
    for end in SEED["endpoints"]:
        address, _, length = end["address"].partition("/")
        Endpoint.objects.create(**sorted_name(end["name"]), address=address)
        network = address.rsplit(".", 1)[0] + f".{int(address.rsplit('.', 1)[1]) & ~3}/{length}"
        Prefix.objects.create(
            source=source, key=network, device=devices[end["attached_to"]], prefix=network, changed=now
        )
    Topology.objects.create(version=1, changed=now)


def seed_campaign(**values: Any) -> Campaign:
    """dev1 to dev2 over all paths, planned."""
    agent = agent_create(name="dev1", public_key=secrets.token_hex(32), address="20.0.0.2")
    target = Endpoint.objects.get(name="dev2")
    asked: dict[str, Any] = {"name": "dev1 to dev2", "agent": agent, "targets": [target], "policy": "all", **values}
    campaign = campaign_create(**asked)
    plan(campaign)
    return Campaign.objects.get(pk=campaign.pk)


def plan(campaign: Campaign) -> None:
    drain.get("plans").run(current_team_id(), campaign.pk)


def withdraw(a: str, b: str, up: bool = False) -> None:
    """The topology without (or with) the link, as the drain of the listener's updates would leave it."""
    halves = HalfLink.objects.filter(link__name=f"{a}–{b}")
    halves.update(up=up)
    Link.objects.filter(name=f"{a}–{b}").update(state="up" if up else "down")
    topology = Topology.objects.get()
    topology.version += 1
    topology.save()


def arrows() -> dict[int, tuple[str, str]]:
    rows = HalfLink.objects.values_list("pk", "device__name", "remote_device__name")
    return {pk: (near, far) for pk, near, far in rows}


@dataclass
class Simulation:
    """A prober that lives in simulated time (nanoseconds); `run` drains its reports as they come."""

    campaign: Campaign
    cut: set[tuple[str, str]] = field(default_factory=set)
    loss: dict[tuple[str, str], float] = field(default_factory=dict)
    everywhere: float = 0.0
    access: bool = True
    silent: bool = False
    random: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.now = 0
        # Away from the end of the day, so that a run stays on the day that has its partition.
        self.epoch = timezone.now() - timedelta(hours=1)
        self.agent: Agent = self.campaign.agent
        self.offset = 0
        self.sent = 0
        self._arrows = arrows()
        self._tallies: dict[int, Tally] = {}
        self._due: dict[int, int] = {}
        self._returns: list[tuple[int, int, int, int]] = []
        self._version = 1

    def run(self, seconds: float, until: Callable[[], object] | None = None) -> float:
        """Let time pass, or until the condition (asked after each report); returns the seconds that passed."""
        start = self.now
        while self.now < start + seconds * 1e9:
            self.now += TICK
            self._probe()
            if self.now % REPORT == 0 and not self.silent:
                self._report()
                if until and until():
                    break
        return (self.now - start) / 1e9

    def passes(self, path: Path) -> bool:
        if not self.access:
            return False
        for each in (*path.out, *path.back):
            arrow = self._arrows[each]
            lost = self.everywhere + self.loss.get(arrow, 0.0)
            if arrow in self.cut or (lost and self.random.random() < lost):
                return False
        return True

    def clock(self) -> datetime:
        return self.epoch + timedelta(microseconds=self.now // 1000)

    def _probe(self) -> None:
        if self.now % REPORT == TICK:
            self._paths = list(Path.objects.active().filter(campaign=self.campaign).order_by("id"))
        interval = round(1e9 / self.campaign.rate)
        for number, path in enumerate(self._paths):
            tally = self._tallies.setdefault(path.pk, Tally(path.pk))
            due = self._due.setdefault(path.pk, self.now - TICK + round(interval * (number * 0.618 % 1)))
            while due <= self.now:
                sequence = tally.sequence
                tally.sent(due)
                self.sent += 1
                if self.passes(path):
                    rtt = 200_000 * (len(path.out) + len(path.back))
                    tally.came(sequence, due, due + rtt, TIMEOUT)
                due += interval
            self._due[path.pk] = due

    def _report(self) -> None:
        records = [record for tally in self._tallies.values() if (record := tally.take(self.now, TIMEOUT))]
        end = int(self.clock().astimezone(UTC).timestamp() * 1e6)
        self.deliver(encode(Report(self._version, end, tuple(records))))

    def deliver(self, payload: bytes) -> None:
        """One report into the inbox, and drained."""
        row = ReportBatch.objects.create(agent=self.agent, boot="b", offset=self.offset, payload=payload)
        ReportBatch.objects.filter(pk=row.pk).update(received=self.clock())
        self.offset += 1
        drain.get("reports").run(current_team_id(), self.agent.pk)


def open_incidents() -> list[Incident]:
    return list(Incident.objects.filter(state="open").order_by("id"))
