"""The network as it was learned: devices, interfaces, half-links, links, prefixes, and how they changed."""

from typing import Any

from django.db import models

from core.text import natural_key
from tenancy.models import TeamModel


class TopologySource(TeamModel):
    """A BGP speaker that tells us the topology (BGP-LS, RFC 9552). Written by the listener and its drain."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the first session"
        SYNCING = "syncing", "Syncing"
        LIVE = "live", "Live"
        STALE = "stale", "Stale"

    name = models.CharField(max_length=60)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(default=179)
    local_as = models.PositiveBigIntegerField(default=65000)
    peer_as = models.PositiveBigIntegerField(default=65000)
    router_id = models.GenericIPAddressField(protocol="IPv4", default="192.0.2.2")
    hold_time_s = models.PositiveIntegerField(default=9)
    enabled = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    # One clear sentence about what is wrong, empty while all is well.
    problem = models.CharField(max_length=300, blank=True)
    # Counts the listener's starts of ExaBGP for this source; each start is at most one session.
    run = models.PositiveBigIntegerField(default=0)
    # Counts established sessions; what a session has not announced again is swept at its End-of-RIB.
    session = models.PositiveBigIntegerField(default=0)
    session_began = models.DateTimeField(null=True)
    heard = models.DateTimeField(null=True)
    synced = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="topologysource_name")]

    def __str__(self) -> str:
        return self.name


class TopologyUpdate(TeamModel):
    """Inbox: one line of ExaBGP's JSON, as it came."""

    source = models.ForeignKey(TopologySource, on_delete=models.CASCADE, related_name="updates", db_constraint=False)
    # The run of the source that said it; lines of an older run are void.
    run = models.PositiveBigIntegerField()
    line = models.TextField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta(TeamModel.Meta):
        indexes = [models.Index(fields=["team", "source", "id"], name="topologyupdate_order")]


class Topology(TeamModel):
    """The version of a team's graph; every change of the graph bumps it."""

    version = models.PositiveBigIntegerField(default=0)
    changed = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team"], name="topology_once")]


class Named(TeamModel):
    """A name with the key it is sorted by: R2 before R10, without ICU."""

    name = models.CharField(max_length=120)
    sort_key = models.CharField(max_length=255, editable=False)

    class Meta(TeamModel.Meta):
        abstract = True

    def __str__(self) -> str:
        return self.name


class Device(Named):
    """A node (RFC 9552 section 5.2.1). `up` is false once its node NLRI was withdrawn."""

    source = models.ForeignKey(TopologySource, on_delete=models.CASCADE, related_name="devices", db_constraint=False)
    # Canonical text of the node descriptors: protocol, instance, AS, area and IGP router-id.
    key = models.CharField(max_length=200)
    igp_router_id = models.CharField(max_length=40)
    router_id = models.GenericIPAddressField(null=True)
    up = models.BooleanField(default=True)
    session = models.PositiveBigIntegerField(default=0)
    first_seen = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "source", "key"], name="device_key")]
        indexes = [models.Index(fields=["team", "sort_key"], name="device_sorted")]


class Interface(TeamModel):
    """A device's end of a link, known by its address (BGP-LS gives no interface names) or its link-local identifier."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="interfaces", db_constraint=False)
    name = models.CharField(max_length=60)
    address = models.GenericIPAddressField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "device", "name"], name="interface_name")]

    def __str__(self) -> str:
        return self.name


class Link(Named):
    """Two half-links, one each way. Up while both are announced (two-way check)."""

    class State(models.TextChoices):
        UP = "up", "Up"
        DOWN = "down", "Down"

    # Sorted pair of its half-links' (device, address or identifier): the same from either side.
    key = models.CharField(max_length=300)
    a_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    z_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DOWN)
    changed = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "key"], name="link_key")]
        indexes = [models.Index(fields=["team", "sort_key"], name="link_sorted")]


class HalfLink(TeamModel):
    """One direction of a link (RFC 9552 link NLRI), from `device` to `remote_device`."""

    source = models.ForeignKey(TopologySource, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    key = models.CharField(max_length=400)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="half_links", db_constraint=False)
    remote_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    interface = models.ForeignKey(Interface, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="half_links", db_constraint=False)
    local_address = models.GenericIPAddressField(null=True)
    remote_address = models.GenericIPAddressField(null=True)
    igp_metric = models.PositiveBigIntegerField(default=1)
    te_metric = models.PositiveBigIntegerField(null=True)
    max_bandwidth = models.FloatField(null=True, help_text="bytes a second, as in RFC 5305")
    delay_us = models.PositiveBigIntegerField(null=True)
    adjacency_sids = models.JSONField(default=list)
    up = models.BooleanField(default=True)
    session = models.PositiveBigIntegerField(default=0)
    changed = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "source", "key"], name="halflink_key")]
        indexes = [
            models.Index(fields=["team", "link"], name="halflink_link"),
            models.Index(fields=["team", "device"], name="halflink_dev"),
        ]

    def __str__(self) -> str:
        return f"{self.device}→{self.remote_device}"


class Prefix(TeamModel):
    """A prefix and the device that announces it (RFC 9552 prefix NLRI)."""

    source = models.ForeignKey(TopologySource, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    key = models.CharField(max_length=300)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="prefixes", db_constraint=False)
    prefix = models.CharField(max_length=43)
    metric = models.PositiveBigIntegerField(default=0)
    up = models.BooleanField(default=True)
    session = models.PositiveBigIntegerField(default=0)
    changed = models.DateTimeField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "source", "key"], name="prefix_key")]

    def __str__(self) -> str:
        return self.prefix


class TopologyEvent(TeamModel):
    """One change of the topology; the history."""

    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    text = models.CharField(max_length=300)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, null=True, related_name="events", db_constraint=False)
    link = models.ForeignKey(Link, on_delete=models.CASCADE, null=True, related_name="events", db_constraint=False)
    version = models.PositiveBigIntegerField()

    class Meta(TeamModel.Meta):
        indexes = [models.Index(fields=["team", "-at"], name="topologyevent_recent")]


class Endpoint(Named):
    """A host that paths end at. Its device is the one that announces the longest prefix around `address`."""

    address = models.GenericIPAddressField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="endpoint_name")]


def sorted_name(name: str) -> dict[str, Any]:
    """The two columns of a Named row."""
    return {"name": name, "sort_key": natural_key(name)}
