"""Every write on the inventory. All run inside the team's scope."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from core import live, outbound
from core.scope import current_team_id
from inventory import hooks
from inventory.bgpls import adapter
from inventory.linkstate import LinkState
from inventory.models import (
    Endpoint,
    Link,
    Topology,
    TopologyEvent,
    TopologySource,
    TopologyUpdate,
    sorted_name,
)
from ticketing.models import Incident
from ticketing.services import incident_clear, incident_report

log = logging.getLogger("netops.inventory")

# How long a session may take to its End-of-RIB before what it has not announced counts as gone.
SYNC_LIMIT = timedelta(seconds=60)


def source_create(*, name: str, host: str, port: int = 179, **fields: Any) -> TopologySource:
    """A BGP-LS peer to listen to; raises ValidationError that names the field."""
    source = TopologySource(name=name, host=host, port=port, **fields)
    _source_check(source)
    source.save()
    return source


def source_update(*, source: TopologySource, **fields: Any) -> TopologySource:
    """Change what is given; the listener takes it up within seconds."""
    for name, value in fields.items():
        setattr(source, name, value)
    _source_check(source)
    source.save(update_fields=list(fields))
    return source


def source_delete(*, source: TopologySource) -> None:
    """Forget a source and everything it told."""
    name = source.name
    source.delete()
    topology_changed([_event("source_deleted", f"{name} was deleted with all it told", timezone.now())])


def _source_check(source: TopologySource) -> None:
    if not 3 <= source.hold_time_s <= 65535:
        raise ValidationError({"hold_time_s": "A hold time is 3 to 65535 seconds (RFC 4271)."})
    for field in ("local_as", "peer_as"):
        if not 1 <= getattr(source, field) < 2**32:
            raise ValidationError({field: "An AS number is 1 to 4294967295."})
    if not 1 <= source.port <= 65535:
        raise ValidationError({"port": "A port is 1 to 65535."})
    _password_check(source.password or "")
    source.full_clean(exclude=["state", "problem", "session_began", "heard", "synced"])
    outbound.resolve(source.host, source.port)


def _password_check(password: str) -> None:
    if not (isinstance(password, str) and len(password) <= 80 and password.isascii() and password.isprintable()):
        raise ValidationError(
            {"password": "A TCP MD5 password (RFC 2385) is at most 80 printable ASCII characters: choose another."}
        )


def endpoint_create(*, name: str, address: str) -> Endpoint:
    """A new endpoint; raises ValidationError where the name is taken."""
    if Endpoint.objects.filter(name=name).exists():
        raise ValidationError({"name": f"There is already an endpoint called {name!r}: choose another name."})
    return endpoint_set(name=name, address=address)


def endpoint_set(*, name: str, address: str) -> Endpoint:
    """Make the endpoint `name`, or move it to `address`; raises ValidationError."""
    found = Endpoint.objects.filter(name=name).first()
    endpoint: Endpoint = found or Endpoint(**sorted_name(name))
    if found and found.address == address:
        return endpoint
    endpoint.address = address
    endpoint.full_clean()
    endpoint.save()
    text = f"Endpoint {name} is at {endpoint.address}"
    topology_changed([_event("endpoint_set", text, timezone.now())])
    return endpoint


def apply_updates(source: TopologySource, rows: Sequence[TopologyUpdate]) -> None:
    """Apply lines of ExaBGP in order: the drain "topology" holds the row lock of `source` and deletes them after."""
    state = LinkState(source, timezone.now())
    before = _told(source)
    pending: list[adapter.Event] = []
    malformed = 0
    for row in rows:
        if row.run != source.run:
            continue
        events, wrong = adapter.parse(row.line)
        malformed += wrong
        for event in events:
            if isinstance(event, adapter.SessionUp | adapter.SessionDown | adapter.EndOfRib):
                state.apply(pending)
                pending = []
                _session_event(source, state, event, row.created)
            else:
                pending.append(event)
    state.apply(pending)
    if malformed:
        log.warning("%s: %d things it said made no sense and were left out", source, malformed)
    _finish(source, state, before)


def _session_event(source: TopologySource, state: LinkState, event: adapter.Event, at: datetime) -> None:
    match event:
        case adapter.SessionUp():
            source.session += 1
            source.session_began, source.state, source.problem = at, source.State.SYNCING, ""
            source.heard = max(source.heard or at, at)
            state.events.append(_event("session_up", f"{source}: the session is up", at))
        case adapter.SessionDown(reason):
            source.problem = f"The session with {source.host} was lost: {reason or 'no reason given'}."[:300]
            state.events.append(_event("session_down", f"{source}: the session was lost: {reason}", at))
        case adapter.EndOfRib():
            _synced(source, state, at)


def _is_synced(source: TopologySource) -> bool:
    """Whether everything of this session was announced."""
    return bool(source.synced and source.session_began and source.synced >= source.session_began)


def _synced(source: TopologySource, state: LinkState, at: datetime) -> None:
    if _is_synced(source) or not source.session_began:
        return
    state.sweep()
    source.state, source.synced = source.State.LIVE, max(at, source.session_began)
    state.events.append(_event("source_live", f"{source}: everything was announced", at))


def _told(source: TopologySource) -> tuple[Any, ...]:
    return source.session, source.session_began, source.state, source.problem, source.synced


def _finish(source: TopologySource, state: LinkState, before: tuple[Any, ...]) -> None:
    if _told(source) != before:
        # `run` is the listener's alone; for `heard` it waits for the row lock that we hold.
        source.save(update_fields=["session", "session_began", "state", "problem", "heard", "synced"])
        live.publish(current_team_id(), "topology")
    if state.changed:
        _report_links(state, topology_changed(state.events))
    elif state.events:
        _store(state.events, Topology.objects.values_list("version", flat=True).first() or 0)


def topology_changed(events: Sequence[TopologyEvent]) -> int:
    """Bump the version of the team's graph, write `events` under it and tell whom it concerns; the new version."""
    topology = Topology.objects.select_for_update().get_or_create()[0]
    topology.version, topology.changed = topology.version + 1, timezone.now()
    topology.save(update_fields=["version", "changed"])
    _store(events, topology.version)
    for hook in hooks.on_topology_change:
        hook(current_team_id(), topology.version)
    live.publish(current_team_id(), "topology")
    return int(topology.version)


def _store(events: Sequence[TopologyEvent], version: int) -> None:
    for event in events:
        event.version = version
    TopologyEvent.objects.bulk_create(events)


def _event(kind: str, text: str, at: datetime) -> TopologyEvent:
    return TopologyEvent(at=at, kind=kind, text=text[:300])


def _report_links(state: LinkState, version: int) -> None:
    """Incidents of the links that are not as they were before the batch; in a fixed order, against deadlocks."""
    elements = [f"link:{pk}" for pk in state.touched]
    open_ones = Incident.objects.open().filter(kind="link", element__in=elements, causes__has_key="topology")
    held = set(open_ones.values_list("element", flat=True))
    for pk in sorted(state.touched):
        link, before, why = state.touched[pk]
        element = {"kind": "link", "element": f"link:{pk}", "source": "topology"}
        if link.state == Link.State.UP:
            if element["element"] in held:
                incident_clear(**element, reason=f"{why}; both directions are announced")
        # A link that never was up raises nothing; one that is down already may have lost its other direction.
        elif before == Link.State.UP or element["element"] in held:
            evidence = {"version": version, "direction": state.direction(link)}
            incident_report(**element, title=f"Link {link.name} is down", evidence=evidence, reason=why)


def mark_stale(*, now: datetime | None = None) -> int:
    """Mark sources not heard for their hold time, sweep sessions whose End-of-RIB never came; how many changed.

    A source that a worker is draining is left to the next round.
    """
    now = now or timezone.now()
    changed = 0
    spoken = TopologySource.objects.exclude(state=TopologySource.State.WAITING).order_by("id")
    for source in spoken.select_for_update(skip_locked=True, no_key=True):
        before, state = _told(source), LinkState(source, now)
        silent = source.heard is None or now - source.heard > timedelta(seconds=source.hold_time_s)
        if silent and source.state != source.State.STALE:
            source.state = source.State.STALE
            source.problem = source.problem or f"Nothing was heard from {source.host} for {source.hold_time_s} s."
            text = f"{source} is stale; its last known topology is kept"
            state.events.append(_event("source_stale", text, now))
        elif not silent and source.state == source.State.STALE:
            source.state = source.State.LIVE if _is_synced(source) else source.State.SYNCING
            source.problem = ""
        elif not silent and not _is_synced(source) and _overdue(source, now):
            _synced(source, state, now)
        if _told(source) != before:
            changed += 1
            _finish(source, state, before)
    return changed


def _overdue(source: TopologySource, now: datetime) -> bool:
    if source.session_began and now - source.session_began < SYNC_LIMIT:
        return False
    return not TopologyUpdate.objects.filter(source=source).exists()
