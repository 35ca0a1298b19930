"""Every write on agents and their links. A link writes under its epoch: once a newer one is open, it may no more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Case, DateTimeField, ExpressionWrapper, F, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents.clones import clash_report
from agents.hooks import on_ports
from agents.models import SILENT_S, Agent, AgentStream, free_tunnel_port, lock_names
from agents.streams import streams
from core.live import publish
from core.scope import current_team_id
from pi_agent.frames import CONTROL, FrameError, Hello
from pi_agent.registration import Interface, Port, Registration

MAX_OFFSET = 2**62
KEY_TAKEN = "This key cannot be enrolled: make a new one."
# What agents say, or time does: not for people to fill in.
_TOLD = {
    "addresses", "interfaces", "ports", "booted", "first_seen", "last_seen", "reported", "registered", "back", "token",
    "tunnel_port",
}  # fmt: skip


class StaleLink(Exception):
    """This link was replaced by a newer one, or its agent was removed."""


@dataclass(frozen=True)
class Opened:
    """`streams`: for each stream the next offset expected; `plans`: as `plans_of` gives them."""

    name: str
    epoch: int
    streams: dict[int, int]
    plans: dict[int, tuple[int, bytes]]


def agent_create(*, name: str, public_key: str, address: str | None = None) -> Agent:
    """Enrol the agent that holds the ed25519 key (64 hexadecimal digits); raises ValidationError naming the field."""
    agent = Agent(name=name, public_key=public_key.strip().lower(), address=address)
    try:
        if len(bytes.fromhex(agent.public_key)) != 32:
            raise ValueError
    except ValueError:
        raise ValidationError(
            {"public_key": "This is no ed25519 public key: give the 64 hexadecimal digits that keygen printed."}
        ) from None
    agent.clean_fields(exclude=_TOLD | ({"address"} if address is None else set()))
    lock_names(current_team_id())
    agent.validate_unique()
    insert(agent)
    publish(current_team_id(), "agents")
    return agent


def agent_update(*, agent: Agent, **values: Any) -> Agent:
    """Change what people decide: name, address, maintenance, holdtime_s, interval_s."""
    assert set(values) <= {"name", "address", "maintenance", "holdtime_s", "interval_s"}
    for name, value in values.items():
        setattr(agent, name, value)
    agent.clean_fields(exclude=_TOLD | ({"address"} if agent.address is None else set()))
    if agent.holdtime_s < agent.interval_s:
        raise ValidationError({"holdtime_s": "An agent is dead after an interval or more: give at least interval_s."})
    if "name" in values:
        lock_names(current_team_id())
        agent.validate_unique()
    agent.save(update_fields=[*values] or ["name"])
    publish(current_team_id(), "agents")
    return agent


def insert(agent: Agent) -> None:
    """Store a new agent; raises ValidationError if its key is known. The sentence does not say where: a key belongs to
    one agent over all teams."""
    try:
        with transaction.atomic():
            agent.save(force_insert=True)
    except IntegrityError as error:
        if "agent_key_once" in str(error):
            raise ValidationError({"key" if agent.token_id else "public_key": KEY_TAKEN}) from None
        raise


def heard(agents: QuerySet[Any], **values: Any) -> int:
    """Note that these agents were heard just now, with what they said."""
    now = timezone.now()
    dead_before = Value(now) - F("holdtime_s") * Value(timedelta(seconds=1))
    was_dead = When(last_seen__lt=ExpressionWrapper(dead_before, output_field=DateTimeField()), then=Value(now))
    return agents.update(
        first_seen=Coalesce("first_seen", now),
        last_seen=now,
        back=Case(was_dead, default=F("back"), output_field=DateTimeField()),
        **values,
    )


def link_open(*, agent_id: int, hello: Hello) -> Opened:
    """A new link of this agent: its epoch fences every older one. Raises StaleLink if the agent was removed or revoked.

    The streams' rows are locked, as by `stream_receive`: what an older link is just storing is counted.
    """
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id, state=Agent.State.ENROLLED).first()
    if agent is None or (agent.rekey and agent.boot != str(hello.boot)):
        raise StaleLink
    rows = AgentStream.objects.select_for_update().filter(agent_id=agent_id).order_by("stream")
    offsets = {row.stream: row.offset for row in rows}
    new = [AgentStream(agent=agent, stream=stream) for stream in streams if stream not in offsets]
    if new:
        AgentStream.objects.bulk_create(new)
    if new or agent.boot != str(hello.boot):
        AgentStream.objects.filter(agent=agent).update(boot=str(hello.boot))
    known = agent.status_now == "online"
    agent.epoch += 1
    heard(
        Agent.objects.filter(pk=agent_id),
        epoch=agent.epoch,
        gateway=settings.GATEWAY_URL,
        online=True,
        boot=str(hello.boot),
        hostname=hello.hostname,
        software=hello.software[:40],
        addresses=hello.addresses,
    )
    if not known:
        publish(current_team_id(), "agents")
    return Opened(agent.name, agent.epoch, {stream.stream: 0 for stream in new} | offsets, _plans(agent))


def links_beat(*, epochs: Mapping[int, int]) -> set[int]:
    """These links (agent id: epoch) are alive; returns the agents whose link it no longer is."""
    held = dict(Agent.objects.filter(pk__in=epochs).values_list("pk", "epoch"))
    alive = [agent_id for agent_id, epoch in epochs.items() if held.get(agent_id) == epoch]
    heard(Agent.objects.filter(pk__in=alive), online=True)
    return set(epochs) - set(alive)


def plan_versions(*, agents: Collection[int]) -> dict[int, dict[int, int]]:
    """For each stream the version of the plan of each of these agents that has one."""
    return {number: stream.versions(agents) for number, stream in streams.items()}


def machine_told(*, agent: Agent, interfaces: Sequence[Interface], ports: Sequence[Port], **values: Any) -> None:
    """Store what an agent says of its machine; open pages hear of what changed."""
    told = {"interfaces": [asdict(one) for one in interfaces], "ports": [asdict(one) for one in ports]}
    addresses = {one.name: list(one.addresses) for one in interfaces}
    heard(Agent.objects.filter(pk=agent.pk), **told, addresses=addresses, registered=timezone.now(), **values)
    if (agent.interfaces, agent.ports) != (told["interfaces"], told["ports"]) or agent.status_now != "online":
        publish(current_team_id(), "agents")


def agent_register(*, agent: Agent, registration: Registration) -> None:
    """The whole of a registration. The machine's clock is not asked: times are the server's."""
    machine_told(
        agent=agent,
        interfaces=registration.interfaces,
        ports=registration.ports,
        hostname=registration.hostname,
        serial=registration.serial,
        model=registration.model,
        os=registration.os,
        software=registration.software,
        # A link says by itself whose it is.
        boot=agent.boot if agent.online else str(registration.boot),
        booted=timezone.now() - timedelta(seconds=registration.uptime_s),
    )


def link_register(*, agent_id: int, epoch: int, registration: Registration) -> int:
    """What the agent says of its machine; returns its `tunnel_port`. Raises StaleLink."""
    agent = Agent.objects.filter(pk=agent_id, epoch=epoch).first()
    if agent is None:
        raise StaleLink
    agent_register(agent=agent, registration=registration)
    for told in on_ports:
        told(agent, [port.name for port in registration.ports])
    return agent.tunnel_port or tunnel_port(agent_id=agent_id)


def tunnel_port(*, agent_id: int) -> int:
    """The port of the server's loopback that leads to this agent's sshd, from its first tunnel on for good."""
    agent = Agent.objects.select_for_update(no_key=True).get(pk=agent_id)
    if agent.tunnel_port is None:
        agent.tunnel_port = free_tunnel_port()
        Agent.objects.filter(pk=agent_id).update(tunnel_port=agent.tunnel_port)
    return int(agent.tunnel_port)


def key_clash(*, agent_id: int, hostname: str, addresses: object) -> None:
    """A second machine came with this agent's key while the first one answered."""
    found = f"{hostname} came with its key, which answers from elsewhere"
    clash_report(agent_id=agent_id, evidence={"hostname": hostname, "addresses": addresses}, found=found)


def link_closed(*, agent_id: int, epoch: int) -> None:
    """The link is gone and no newer one came."""
    agent = Agent.objects.filter(pk=agent_id, epoch=epoch, online=True)
    if agent.update(online=False):
        publish(current_team_id(), "agents")


def agents_expire() -> list[Agent]:
    """Agents whose gateway died without a word go offline."""
    before = timezone.now() - timedelta(seconds=SILENT_S)
    agents = list(Agent.objects.filter(online=True, last_seen__lt=before))
    for agent in agents:
        link_closed(agent_id=agent.pk, epoch=agent.epoch)
    return agents


def stream_receive(*, agent_id: int, epoch: int, stream: int, frames: Sequence[tuple[int, bytes]]) -> int:
    """Take (offset, payload) frames of one stream in; returns the next offset expected.

    What was received before is passed over. The link keeps order, so an offset further on is a gap that the agent had
    to make. Raises StaleLink under an older epoch, FrameError for a stream or offset that nobody serves.
    """
    row = AgentStream.objects.select_for_update().filter(agent_id=agent_id, stream=stream).first()
    agent = Agent.objects.filter(pk=agent_id, epoch=epoch).first()
    if agent is None:
        raise StaleLink
    if row is None or stream not in streams:
        raise FrameError(f"this server has no stream {stream}")
    for offset, payload in frames:
        if offset < row.offset:
            continue
        if offset > MAX_OFFSET:
            raise FrameError(f"offset {offset} is out of range")
        streams[stream].receive(agent, row.boot, offset, payload)
        row.offset = offset + 1
    row.save(update_fields=["offset"])
    return int(row.offset)


def plans_of(*, agent_id: int, epoch: int) -> dict[int, tuple[int, bytes]]:
    """What each stream has for this agent: (version, payload); CONTROL: it is to take another key. Raises StaleLink."""
    agent = Agent.objects.filter(pk=agent_id, epoch=epoch).first()
    if agent is None:
        raise StaleLink
    return _plans(agent)


def _plans(agent: Agent) -> dict[int, tuple[int, bytes]]:
    found = {number: stream.plan(agent) for number, stream in streams.items()}
    orders = {CONTROL: (agent.epoch, b"")} if agent.rekey else {}
    return orders | {number: plan for number, plan in found.items() if plan}


def plan_refused(*, agent_id: int, epoch: int, stream: int, version: int, sentence: str) -> None:
    agent = Agent.objects.filter(pk=agent_id, epoch=epoch).first()
    if agent and stream in streams:
        streams[stream].refused(agent, version, sentence)
