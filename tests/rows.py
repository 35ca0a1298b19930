"""The six-router lab as rows, for tests that need a network but no wires."""

import json
import secrets
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path as File

from django.db import connection
from django.utils import timezone

from agents.models import Agent
from inventory.models import (
    Device,
    Endpoint,
    HalfLink,
    Interface,
    Link,
    Prefix,
    Topology,
    TopologyEvent,
    TopologySource,
    sorted_name,
)
from probing.models import Campaign, CampaignTarget, Path, PathMinute, minute_of

LAB = json.loads((File(__file__).parent.parent / "lab" / "seed_lab.json").read_text())


@dataclass
class Lab:
    source: TopologySource
    devices: dict[str, Device] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    half_links: dict[str, HalfLink] = field(default_factory=dict)
    campaign: Campaign | None = None
    paths: list[Path] = field(default_factory=list)

    def device(self, name: str) -> Device:
        number = len(self.devices)
        made = Device.objects.create(
            **sorted_name(name),
            source=self.source,
            key=f"device {name}",
            igp_router_id=f"0000.1000.{number:04d}",
            router_id=f"10.255.{number // 250}.{number % 250}",
            changed=timezone.now(),
        )
        self.devices[name] = made
        return made

    def link(self, a: str, z: str, addresses: tuple[str, str]) -> Link:
        now = timezone.now()
        near, far = self.devices[a], self.devices[z]
        made = Link.objects.create(
            **sorted_name(f"{a}–{z}"),
            key=f"{a} {z} {addresses[0]}",
            a_device=near,
            z_device=far,
            state="up",
            changed=now,
        )
        for device, remote, local, other in ((near, far, *addresses), (far, near, *addresses[::-1])):
            interface = Interface.objects.create(device=device, name=local, address=local)
            half = HalfLink.objects.create(
                source=self.source, key=f"{local} {other}", device=device, remote_device=remote, interface=interface,
                link=made, local_address=local, remote_address=other, igp_metric=10, delay_us=250,
                max_bandwidth=1.25e9, adjacency_sids=[24001], changed=now,
            )  # fmt: skip
            self.half_links[f"{device.name}→{remote.name}"] = half
        self.links[f"{a}–{z}"] = made
        return made


def lab_rows() -> Lab:
    """Devices, links, half-links, end points, events; everything up. The team must be in scope."""
    now = timezone.now()
    source = TopologySource.objects.create(name="reflector", host="192.0.2.7", state="live", heard=now, synced=now)
    lab = Lab(source)
    for router in LAB["routers"]:
        lab.device(router["name"])
    for link in LAB["links"]:
        made = lab.link(link["a"], link["b"], (link["a_address"], link["b_address"]))
        TopologyEvent.objects.create(at=now, kind="link_up", text=f"Link {made.name} came up", link=made, version=1)
    for number, end in enumerate(LAB["endpoints"]):
        address = end["address"].split("/")[0]
        Endpoint.objects.create(**sorted_name(end["name"]), address=address)
        Prefix.objects.create(
            source=source, key=f"prefix {number}", device=lab.devices[end["attached_to"]], prefix=f"{address}/32",
            changed=now,
        )  # fmt: skip
    Topology.objects.create(version=1, changed=now)
    return lab


def campaign_rows(lab: Lab, ways: tuple[str, ...] = ("R1 R2 R4 R6", "R1 R3 R5 R6")) -> Campaign:
    """A campaign from dev1 to dev2 with these ways out, all up and with two minutes of history."""
    now = timezone.now()
    agent = Agent.objects.create(
        name="dev1", public_key=secrets.token_hex(32), address="20.0.0.2", online=True, last_seen=now
    )
    target = Endpoint.objects.get(name="dev2")
    lab.campaign = campaign = Campaign.objects.create(
        name="dev1 to dev2", agent=agent, policy="all", planned=now, planned_version=1
    )
    CampaignTarget.objects.create(campaign=campaign, endpoint=target)
    for way in ways:
        names = way.split()
        out = [lab.half_links[f"{a}→{b}"].pk for a, b in pairwise(names)]
        back = [lab.half_links[f"{b}→{a}"].pk for a, b in pairwise(names)][::-1]
        path = Path.objects.create(
            campaign=campaign, target=target, key=f"{way} {len(lab.paths)}", out=out, back=back,
            out_names=["dev1", *names, "dev2"], back_names=["dev2", *names[::-1], "dev1"], state="up", changed=now,
            heard=now, rtt_us=640, loss_percent=0,
        )  # fmt: skip
        lab.paths.append(path)
        for minutes in (0, 1):
            minute_row(path, minute_of(now - timedelta(minutes=minutes)), [0.64] * 60)
    return campaign


def minute_row(path: Path, minute: datetime, rtts: list[float], sent: int | None = None) -> PathMinute:
    with connection.cursor() as cursor:
        cursor.execute("SELECT netops_partition_ensure(%s)", [minute.date()])
    return PathMinute.objects.create(
        path=path, minute=minute, sent=len(rtts) if sent is None else sent, received=len(rtts), late=0, duplicate=0,
        reordered=0, rtts=struct.pack(PathMinute.RTT_FORMAT.format(len(rtts)), *rtts),
    )  # fmt: skip
