"""The network as it was learned: devices, interfaces, half-links, links, prefixes, and how they changed."""

from typing import Any

from django.db import models

from core.search import address_index, haystack_index, haystack_of
from core.secrets import SecretField
from core.text import natural_key
from tenancy.audit import tracked
from tenancy.models import TeamModel, User


@tracked(
    exclude=["password", "state", "problem", "run", "session", "session_began", "heard", "synced"],
)
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
    # TCP MD5 signature (RFC 2385), empty for none.
    password = SecretField(blank=True, default="")
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


class Sluggable(Named):
    """A named row that filters, CSV files and NetBox clients name by its slug."""

    slug = models.SlugField(max_length=100, db_index=False)

    class Meta(TeamModel.Meta):
        abstract = True


@tracked(exclude=["sort_key"])
class Site(Sluggable):
    """Where devices stand (NetBox's site)."""

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="site_name"),
            models.UniqueConstraint(fields=["team", "slug"], name="site_slug"),
        ]


@tracked(exclude=["sort_key"])
class DeviceRole(Sluggable):
    """What a device is for: core, edge, firewall (NetBox's device role)."""

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="devicerole_name"),
            models.UniqueConstraint(fields=["team", "slug"], name="devicerole_slug"),
        ]


@tracked(exclude=["sort_key"])
class Manufacturer(Sluggable):
    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="manufacturer_name"),
            models.UniqueConstraint(fields=["team", "slug"], name="manufacturer_slug"),
        ]


@tracked(exclude=["sort_key"])
class DeviceType(Sluggable):
    """A model of a manufacturer; `name` is what NetBox calls `model`."""

    manufacturer = models.ForeignKey(
        Manufacturer, on_delete=models.PROTECT, related_name="device_types", db_constraint=False
    )

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "manufacturer", "name"], name="devicetype_name"),
            models.UniqueConstraint(fields=["team", "manufacturer", "slug"], name="devicetype_slug"),
        ]


@tracked(exclude=["sort_key"])
class Platform(Sluggable):
    """The operating system of a device (NetBox's platform)."""

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="platform_name"),
            models.UniqueConstraint(fields=["team", "slug"], name="platform_slug"),
        ]


@tracked(
    fields=["name", "status", "site", "role", "device_type", "platform", "serial", "source"],
    written_down={"source__isnull": True},
)
class Device(Named):
    """A box of the team: learned from a node NLRI (RFC 9552 section 5.2.1), or written down by people, or both.

    Without a `source` it was only written down; a node of its name that is learned later becomes the same row.
    `up` is false once its node NLRI was withdrawn, and means nothing without a source.
    """

    class Status(models.TextChoices):
        """NetBox's device status: what people say of it; what the network says is `up`."""

        ACTIVE = "active", "Active"
        PLANNED = "planned", "Planned"
        STAGED = "staged", "Staged"
        FAILED = "failed", "Failed"
        INVENTORY = "inventory", "Inventory"
        DECOMMISSIONING = "decommissioning", "Decommissioning"
        OFFLINE = "offline", "Offline"

    source = models.ForeignKey(
        TopologySource, on_delete=models.CASCADE, null=True, related_name="devices", db_constraint=False
    )
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ACTIVE)
    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, null=True, blank=True, related_name="devices", db_constraint=False
    )
    role = models.ForeignKey(
        DeviceRole, on_delete=models.PROTECT, null=True, blank=True, related_name="devices", db_constraint=False
    )
    device_type = models.ForeignKey(
        DeviceType, on_delete=models.PROTECT, null=True, blank=True, related_name="devices", db_constraint=False
    )
    platform = models.ForeignKey(
        Platform, on_delete=models.PROTECT, null=True, blank=True, related_name="devices", db_constraint=False
    )
    serial = models.CharField(max_length=60, blank=True)
    # Canonical text of the node descriptors: protocol, instance, AS, area and IGP router-id; empty while not learned.
    key = models.CharField(max_length=200, blank=True)
    igp_router_id = models.CharField(max_length=40, blank=True)
    router_id = models.GenericIPAddressField(null=True, blank=True)
    up = models.BooleanField(default=True)
    session = models.PositiveBigIntegerField(default=0)
    first_seen = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField()
    searched = ("name", "igp_router_id", "router_id")
    haystack = haystack_of("name", "igp_router_id")

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "source", "key"], name="device_key"),
            models.UniqueConstraint(
                fields=["team", "name"], condition=models.Q(source__isnull=True), name="device_written_down_name"
            ),
        ]
        indexes = [
            models.Index(fields=["team", "sort_key", "id"], name="device_order"),
            haystack_index("device_search"),
            address_index("router_id", "device_address"),
        ]


@tracked(fields=["device", "name", "address", "learned"], written_down={"learned": False})
class Interface(TeamModel):
    """A port of a device. A learned one is known by its address (BGP-LS gives no names) or its link-local identifier;
    one that was written down with that address before is the same row."""

    learned = models.BooleanField(default=False, editable=False)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="interfaces", db_constraint=False)
    name = models.CharField(max_length=60)
    address = models.GenericIPAddressField(null=True, blank=True)
    searched = ("name", "address")
    haystack = haystack_of("name")

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "device", "name"], name="interface_name")]
        indexes = [haystack_index("interface_search"), address_index("address", "interface_address")]

    def __str__(self) -> str:
        return self.name


@tracked(fields=["name", "a_interface", "z_interface", "learned"], written_down={"learned": False})
class Link(Named):
    """A link between two devices. A learned one is two half-links, one each way, and up while both are announced
    (two-way check); one that was only written down (NetBox's cable) is `unknown`."""

    class State(models.TextChoices):
        UP = "up", "Up"
        DOWN = "down", "Down"
        UNKNOWN = "unknown", "Not learned"

    learned = models.BooleanField(default=False, editable=False)
    # Sorted pair of its half-links' (device, address or identifier): the same from either side.
    key = models.CharField(max_length=300)
    a_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    z_device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    a_interface = models.ForeignKey(
        Interface, on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    z_interface = models.ForeignKey(
        Interface, on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.DOWN)
    changed = models.DateTimeField()
    searched = ("name",)
    haystack = haystack_of("name")

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "key"], name="link_key")]
        indexes = [
            models.Index(fields=["team", "sort_key", "id"], name="link_order"),
            haystack_index("link_search"),
        ]


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


@tracked(exclude=["sort_key"])
class Endpoint(Named):
    """A host that paths end at. Its device is the one that announces the longest prefix around `address`."""

    address = models.GenericIPAddressField()

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="endpoint_name")]


def sorted_name(name: str) -> dict[str, Any]:
    """The two columns of a Named row."""
    return {"name": name, "sort_key": natural_key(name)}


class InventoryImport(TeamModel):
    """A table that somebody sent: it is checked, shown as a diff, and written once they say so. The text is forgotten
    when it was written."""

    class State(models.TextChoices):
        CHECKING = "checking", "Being checked"
        CHECKED = "checked", "Checked"
        REFUSED = "refused", "Refused"
        COMMITTING = "committing", "Being written"
        DONE = "done", "Written"

    BUSY = (State.CHECKING, State.COMMITTING)

    kind = models.CharField(max_length=20)
    text = models.TextField()
    state = models.CharField(max_length=12, choices=State.choices, default=State.CHECKING)
    total = models.PositiveIntegerField()
    # What inventory.imports.jobs.summary makes of the plan.
    result = models.JSONField(default=dict)
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
