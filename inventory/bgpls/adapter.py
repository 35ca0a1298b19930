"""What one line of ExaBGP's JSON says about a link-state topology (RFC 9552), as typed events.

Pure: no Django, no clock. ExaBGP 5.0 repeats keys within an object, so objects are kept as their pairs, and gives TLVs
that it does not know as `generic-lsid-N` hex. All of it was said by a router, so none of it is believed: whatever does
not read as expected is counted and left out, and no line raises.
"""

import hashlib
import ipaddress
import json
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Pairs: TypeAlias = tuple[tuple[str, Any], ...]
Kind: TypeAlias = Literal["device", "half_link", "prefix"]

_FAMILY = "bgp-ls bgp-ls"
_U32 = 2**32 - 1
_NAME, _KEY = 120, 200
_DELAY_TLV, _DELAY_MASK = 1114, 0xFFFFFF  # RFC 8571: A flag, 7 bits reserved, 24 bits of microseconds


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The session is established; everything will be announced again, then End-of-RIB."""


@dataclass(frozen=True, slots=True)
class SessionDown:
    reason: str


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """All that the peer had when the session came up has been announced (RFC 4724)."""


@dataclass(frozen=True, slots=True)
class NodeId:
    """A node by its descriptors: `key` is their canonical text, `igp_router_id` the one people know it by."""

    key: str
    igp_router_id: str


@dataclass(frozen=True, slots=True)
class NodeUp:
    node: NodeId
    name: str
    router_id: str | None

    @property
    def key(self) -> str:
        return self.node.key


@dataclass(frozen=True, slots=True)
class HalfLinkUp:
    """`local_id` and `remote_id` are the link identifiers of RFC 5307, bandwidth is in bytes/s (RFC 5305)."""

    key: str
    local: NodeId
    remote: NodeId
    local_address: str | None
    remote_address: str | None
    local_id: int | None
    remote_id: int | None
    igp_metric: int
    te_metric: int | None
    max_bandwidth: float | None
    delay_us: int | None
    adjacency_sids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PrefixUp:
    key: str
    node: NodeId
    prefix: str
    metric: int


@dataclass(frozen=True, slots=True)
class Down:
    """Withdrawn."""

    kind: Kind
    key: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Announced with an attribute that ExaBGP had to discard: still there, and nothing is known to have changed."""

    kind: Kind
    key: str


Event: TypeAlias = SessionUp | SessionDown | EndOfRib | NodeUp | HalfLinkUp | PrefixUp | Down | Seen


class _Malformed(ValueError):
    pass


def parse(line: str) -> tuple[list[Event], int]:
    """The events of one line, in order, and how many things in it made no sense."""
    try:
        message = json.loads(line, object_pairs_hook=tuple)
        return _message(message)
    except (ValueError, RecursionError):
        return [], 1


def clean(text: object, limit: int) -> str:
    """Foreign text made safe to store and show: one line, no control, format or unassigned characters, bounded."""
    if not isinstance(text, str):
        return ""
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: 4 * limit])
    return " ".join(kept.split())[:limit].rstrip()


def _message(message: object) -> tuple[list[Event], int]:
    kind, neighbor = _get(message, "type"), _get(message, "neighbor")
    if kind == "state":
        state = _get(neighbor, "state")
        if state == "up":
            return [SessionUp()], 0
        return ([SessionDown(clean(_get(neighbor, "reason"), 200))], 0) if state == "down" else ([], 0)
    if kind != "update":
        return ([], 0) if isinstance(kind, str) else ([], 1)
    body = _get(neighbor, "message")
    if eor := _get(body, "eor"):
        return ([EndOfRib()], 0) if _get(eor, "safi") == "bgp-ls" else ([], 0)
    return _update(_get(body, "update"))


def _update(update: object) -> tuple[list[Event], int]:
    events: list[Event] = []
    malformed = 0 if isinstance(update, tuple) else 1
    attribute = _get(update, "attribute")
    error = _get(attribute, "error")
    withdrawn = _get(_get(update, "withdraw"), _FAMILY)
    announced = _get(_get(update, "announce"), _FAMILY) or ()
    work: list[tuple[bool, object]] = [(False, nlri) for nlri in _list(withdrawn)]
    # Announced NLRI stand under their next hop.
    for entry in announced if isinstance(announced, tuple) else ():
        work += [(True, nlri) for nlri in (_list(entry[1]) if _is_pair(entry) else ())]
    for up, nlri in work:
        try:
            event = _nlri(nlri, _get(attribute, "bgp-ls"))
        except (_Malformed, ValueError):
            malformed += 1
            continue
        if event is None:
            continue
        kind: Kind = _KINDS[type(event)]
        if up and isinstance(error, str):
            # RFC 7606: the attribute was discarded, or the whole update counts as a withdrawal.
            events.append((Down if error.startswith("treat-as-withdraw") else Seen)(kind, event.key))
        else:
            events.append(event if up else Down(kind, event.key))
    return events, malformed


def _nlri(nlri: object, attribute: object) -> NodeUp | HalfLinkUp | PrefixUp | None:
    kind = _get(nlri, "ls-nlri-type")
    if kind == "bgpls-node":
        return _node(nlri, attribute)
    if kind == "bgpls-link":
        return _half_link(nlri, attribute)
    if kind in ("bgpls-prefix-v4", "bgpls-prefix-v6"):
        return _prefix(nlri, attribute)
    if not isinstance(kind, str) and not isinstance(_get(nlri, "code"), int):
        raise _Malformed
    return None


def _node(nlri: object, attribute: object) -> NodeUp:
    addresses = [_address(text) for text in _list(_get(attribute, "local-te-router-ids"))]
    router_id = next((text for text in addresses if ":" not in text), None)
    name = clean(_get(attribute, "node-name"), _NAME)
    return NodeUp(_node_id(nlri, "node-descriptors"), name, router_id)


def _half_link(nlri: object, attribute: object) -> HalfLinkUp:
    local, remote = _node_id(nlri, "local-node-descriptors"), _node_id(nlri, "remote-node-descriptors")
    near = sorted({_address(text) for text in _list(_get(nlri, "interface-addresses"))}, key=_by_family)
    far = sorted({_address(text) for text in _list(_get(nlri, "neighbor-addresses"))}, key=_by_family)
    identifiers = next(iter(_list(_get(nlri, "link-identifiers"))), ())
    ids = [_integer(_get(identifiers, name)) for name in ("link-local-id", "link-remote-id")]
    topologies = sorted(str(_topology(each)) for each in _list(_get(nlri, "multi-topology-ids")))
    identity = (local.key, remote.key, ",".join(near), ",".join(far), ",".join(map(str, ids)), ",".join(topologies))
    sids = [sid for adjacency in _all(attribute, "sr-adj") for sid in _list(_get(adjacency, "sids"))]
    return HalfLinkUp(
        key=_bounded(identity),
        local=local,
        remote=remote,
        local_address=near[0] if near else None,
        remote_address=far[0] if far else None,
        local_id=ids[0],
        remote_id=ids[1],
        igp_metric=_integer(_get(attribute, "igp-metric"), 1) or 0,
        te_metric=_integer(_get(attribute, "te-metric")),
        max_bandwidth=_bandwidth(_get(attribute, "maximum-link-bandwidth")),
        delay_us=_delay(attribute),
        adjacency_sids=tuple(_integer(sid, 0) or 0 for sid in sids)[:64],
    )


def _prefix(nlri: object, attribute: object) -> PrefixUp:
    node = _node_id(nlri, "node-descriptors")
    text = _get(nlri, "ip-reach-prefix")
    if not isinstance(text, str):
        raise _Malformed
    prefix = str(ipaddress.ip_network(text, strict=False))
    # OSPF announces a prefix once per route type (RFC 9552 section 5.2.3.1).
    key = _bounded((node.key, prefix, str(_integer(_get(nlri, "ospf-route-type"), 0))))
    return PrefixUp(key, node, prefix, _integer(_get(attribute, "prefix-metric"), 0) or 0)


_KINDS: dict[type, Kind] = {NodeUp: "device", HalfLinkUp: "half_link", PrefixUp: "prefix"}


def _node_id(nlri: object, name: str) -> NodeId:
    """Canonical text of protocol, instance and every node descriptor (RFC 9552 section 5.2.1)."""
    found: dict[str, str] = {}
    for descriptor in _list(_get(nlri, name)):
        for key, value in _pairs(descriptor):
            text = str(value) if isinstance(value, str | int) else ""
            if not text.isprintable() or not key.isprintable():
                raise _Malformed
            found[key] = text
    router = found.get("router-id")
    if not router:
        raise _Malformed
    for more in ("psn", "designated-router-id"):
        if more in found:
            router += f".{found[more]}"
    protocol, instance = _get(nlri, "protocol-id"), _get(nlri, "l3-routing-topology")
    if not isinstance(protocol, int) or not isinstance(instance, int):
        raise _Malformed
    descriptors = [f"{key}={value}" for key, value in sorted(found.items())]
    return NodeId(_bounded((f"{protocol}", f"{instance}", *descriptors)), router[:40])


def _bounded(parts: Iterable[str]) -> str:
    """Parts joined to a key of at most 200 characters; the tail of a longer one becomes its hash."""
    text = "|".join(parts)
    return text if len(text) <= _KEY else f"{text[: _KEY - 33]}#{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise _Malformed
    return str(ipaddress.ip_address(value.partition("%")[0]))


def _by_family(text: str) -> tuple[int, int]:
    address = ipaddress.ip_address(text)
    return address.version, int(address)


def _integer(value: object, default: int | None = None) -> int | None:
    """An unsigned 32-bit number, which all of ours are; the default where there is none."""
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _U32:
        raise _Malformed
    return value


def _topology(value: object) -> int:
    # ExaBGP 5.0 gives each MT-ID TLV as a list of its identifiers.
    return _integer(next(iter(_list(value)), None) if isinstance(value, list) else value, 0) or 0


def _bandwidth(value: object) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def _delay(attribute: object) -> int | None:
    for text in _list(_get(attribute, f"generic-lsid-{_DELAY_TLV}")):
        if isinstance(text, str) and text.startswith("0x") and len(text) == 10:
            return int(text, 16) & _DELAY_MASK
    return None


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


def _pairs(value: object) -> Pairs:
    return tuple(pair for pair in value if _is_pair(pair)) if isinstance(value, tuple) else ()


def _all(value: object, name: str) -> list[Any]:
    return [inner for key, inner in _pairs(value) if key == name]


def _get(value: object, name: str) -> Any:
    """The first value under a key; None where there is no such key or no object."""
    return next(iter(_all(value, name)), None)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
