"""Planning a campaign: from its targets and the graph of now to the paths that are probed. Runs in workers only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from agents.models import Agent
from core.live import publish
from core.scope import current_team_id
from inventory.models import Device, Endpoint
from probing.agentplan import agent_plan_build
from probing.models import Campaign, Path

PATHS = 200
"""Paths of one target at most: each is probed for itself."""
MTU = 1500


@dataclass(frozen=True)
class Wanted:
    """A path to be probed; `out` and `back` are edges of the graph."""

    target: Endpoint
    role: str
    out: tuple[Any, ...]
    back: tuple[Any, ...]


@dataclass
class _Draft:
    campaign: Campaign
    graph: Any
    names: dict[int, str]
    wanted: list[Wanted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ids(self, edges: Iterable[Any]) -> list[int]:
        return [self.graph.edges[edge]["half_link"] for edge in edges]

    def text(self, edges: Sequence[Any]) -> list[str]:
        """Device names along a path."""
        nodes = [edges[0][0], *(edge[1] for edge in edges)] if edges else []
        return [self.names.get(node, str(node)) for node in nodes]

    def arrow(self, edge: Any) -> str:
        return "→".join(self.text([edge]))


def campaign_plan(*, campaign: Campaign) -> None:
    """Plan against the graph of now. Paths whose hops are the same keep their rows, states and histories.

    What cannot be done ends up in `campaign.notes`, a sentence each. The campaign's row must be locked.
    """
    from inventory.graph import load_graph

    version, graph = load_graph()
    draft = _Draft(campaign, graph, dict(Device.objects.values_list("pk", "name")))
    if campaign.enabled:
        _draft_paths(draft)
    _store(draft)
    refused = agent_plan_build(agent=campaign.agent)
    campaign.notes = list(dict.fromkeys([*draft.notes, *refused.get(campaign.pk, [])]))[:100]
    campaign.planned_version, campaign.planned = version, timezone.now()
    campaign.save(update_fields=["notes", "planned_version", "planned"])
    from probing.evaluation import evaluate

    evaluate(campaign)
    publish(current_team_id(), "paths")


def _draft_paths(draft: _Draft) -> None:
    campaign = draft.campaign
    start = _device_of(campaign.agent)
    if isinstance(start, str):
        draft.notes.append(start)
        return
    for target in Endpoint.objects.filter(pk__in=campaign.targets.values("endpoint")).order_by("sort_key", "pk"):
        device = _device_around(target)
        if device is None:
            draft.notes.append(
                f"No device announces the network of {target.name} ({target.address}): it is probed once one does."
            )
        elif device.pk == start.pk:
            draft.notes.append(f"{target.name} is on {start.name} like the agent: there is no link between to probe.")
        else:
            _draft_target(draft, target, start, device)


def _draft_target(draft: _Draft, target: Endpoint, start: Device, device: Device) -> None:
    paths = _paths(draft, start, device)
    if not paths:
        draft.notes.append(f"There is no path from {start.name} to {device.name} ({target.name}) in the topology.")
        return
    if draft.campaign.style == Campaign.Style.ONE_WAY:
        _draft_one_way(draft, target, device, start, paths)
        return
    from probing.planning import PlanError, plan_walks

    try:
        plan = plan_walks(draft.graph, start.pk, device.pk, paths, previous=_previous(draft, target), mtu=MTU)
    except PlanError as error:
        draft.notes.append(str(error))
        return
    probed = len(paths) - len(plan.refused)
    for number, walk in enumerate(plan.walks):
        role = Path.Role.PATH if number < probed else Path.Role.COVER
        draft.wanted.append(Wanted(target, role, walk.out, walk.back))
    draft.notes += [f"{' '.join(draft.text(path))}: {why}" for path, why in plan.refused]
    for group in plan.ambiguous:
        texts = sorted({_hypothesis(draft, hypothesis) for hypothesis in group})
        draft.notes.append(f"No probe can tell these apart: {', '.join(texts)}.")
    if plan.uncovered:
        draft.notes.append(f"No probe crosses {', '.join(sorted(map(draft.arrow, plan.uncovered)))}.")


def _hypothesis(draft: _Draft, hypothesis: Iterable[Any]) -> str:
    edges = sorted((element for element in hypothesis if isinstance(element, tuple)), key=repr)
    if not edges:
        return f"the access of {draft.campaign.agent.name}"
    return draft.arrow(edges[0]) if len(edges) == 1 else "–".join(sorted(draft.text(edges[:1])))


def _draft_one_way(
    draft: _Draft, target: Endpoint, device: Device, start: Device, paths: Sequence[tuple[Any, ...]]
) -> None:
    """Pinned out only. Where routing has one way back it counts as the walk's, so that its links can be named."""
    from inventory.paths import all_shortest
    from probing.packets import packet_size

    ways = all_shortest(draft.graph, device.pk, start.pk, 2)
    if ways.count > 1:
        draft.notes.append(
            f"Routing has {ways.count} equal ways back from {target.name}: a fault on the way back is not named."
        )
    back = ways.paths[0] if ways.count == 1 else ()
    for path in paths:
        if (size := packet_size(len(path) + 2)) > MTU:
            draft.notes.append(f"{' '.join(draft.text(path))}: its probes of {size} B do not fit the MTU of {MTU} B.")
        else:
            draft.wanted.append(Wanted(target, Path.Role.PATH, path, back))


def _paths(draft: _Draft, start: Device, device: Device) -> list[tuple[Any, ...]]:
    from inventory import paths

    campaign, graph = draft.campaign, draft.graph
    ends = (graph, start.pk, device.pk)
    try:
        match campaign.policy:
            case Campaign.Policy.ALL_SHORTEST:
                found = paths.all_shortest(*ends, PATHS)
            case Campaign.Policy.K_SHORTEST:
                found = paths.k_shortest(*ends, campaign.policy_value, PATHS)
            case Campaign.Policy.WITHIN_HOPS:
                found = paths.within_hops(*ends, campaign.policy_value, PATHS)
            case _:
                found = paths.all_simple(*ends, PATHS)
    except paths.PathError as error:
        draft.notes.append(str(error))
        return []
    if found.truncated:
        draft.notes.append(
            f"Between {start.name} and {device.name} there are more paths than the {len(found.paths)} that are probed: "
            "choose another policy to pick others."
        )
    return list(found.paths)


def _previous(draft: _Draft, target: Endpoint) -> list[Any]:
    """The walks of the paths that are probed now, as far as their half-links are still there."""
    from probing.planning import Walk

    edges = {data["half_link"]: (u, v, key) for u, v, key, data in draft.graph.edges(keys=True, data=True)}
    walks = []
    for path in Path.objects.active().filter(campaign=draft.campaign, target=target).order_by("-role", "pk"):
        if all(each in edges for each in (*path.out, *path.back)):
            walks.append(Walk(tuple(edges[each] for each in path.out), tuple(edges[each] for each in path.back)))
    return walks


def _store(draft: _Draft) -> None:
    campaign = draft.campaign
    known = {path.key: path for path in Path.objects.filter(campaign=campaign)}
    kept: set[str] = set()
    fresh: list[Path] = []
    for wanted in draft.wanted:
        row = _row(draft, wanted)
        if row.key in kept:
            continue
        kept.add(row.key)
        if old := known.get(row.key):
            _refresh(old, row)
        else:
            fresh.append(row)
    Path.objects.bulk_create(fresh)
    Path.objects.active().filter(campaign=campaign).exclude(key__in=kept).update(active=False)


def _refresh(old: Path, row: Path) -> None:
    names = ["role", "back", "out_names", "back_names"]
    if not old.active:
        # It comes back after a time without probes: what was known of it is over.
        old.active, old.state, old.changed, old.detector = True, Path.State.UNKNOWN, timezone.now(), {}
        old.rtt_us = old.loss_percent = None
        names += ["active", "state", "changed", "detector", "rtt_us", "loss_percent"]
    elif all(getattr(old, name) == getattr(row, name) for name in names):
        return
    for name in ("role", "back", "out_names", "back_names"):
        setattr(old, name, getattr(row, name))
    old.save(update_fields=names)


def _row(draft: _Draft, wanted: Wanted) -> Path:
    out, back = draft.ids(wanted.out), draft.ids(wanted.back)
    # By routing the way back may change while the probe stays the same.
    pinned = [out] if draft.campaign.style == Campaign.Style.ONE_WAY else [out, back]
    key = f"{draft.campaign.style}:{wanted.target.pk}:" + "|".join("-".join(map(str, each)) for each in pinned)
    if len(key) > 400:
        key = f"{key[:300]}:{hashlib.sha256(key.encode()).hexdigest()}"
    return Path(
        campaign=draft.campaign,
        target=wanted.target,
        role=wanted.role,
        key=key,
        out=out,
        back=back,
        out_names=draft.text(wanted.out),
        back_names=draft.text(wanted.back),
    )


def _device_of(agent: Agent) -> Device | str:
    """The device an agent hangs on, or a sentence why it is not known."""
    if not agent.address:
        return f"The agent {agent.name} has no address: set one, so that probes can return to it."
    if device := _device_around(Endpoint(name=agent.name, address=agent.address)):
        return device
    return f"No device announces the network of the agent {agent.name} ({agent.address}): it probes once one does."


def _device_around(endpoint: Endpoint) -> Device | None:
    from inventory.graph import endpoint_device

    device: Device | None = endpoint_device(endpoint)
    return device
