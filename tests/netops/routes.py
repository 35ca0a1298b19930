"""Every route and who gets which answer from it: one line a route. A new route needs a line here.

- `page(read, write, **ids)`: under /t/<team>/. `read` is the capability that GET asks for, `write` that of POST; empty
  for a method that it has not. Who is not signed in is sent to sign-in, who is not a member finds nothing.
- `api(read, POST=…, PATCH=…, **ids)`: the capability of each method. Who sends neither token nor session gets 401.
- `rest(model, plural, writes, capability)`: list and detail of a resource that can be c(reated), u(pdated), d(eleted).
- `anyone(GET={200, 302}, …)`: the same for everybody; `person(GET=200, …)`: for whoever is signed in, of any team.
- `operator(…)`: for a token that no user has.

`ids` says which model's row a part of the path names: `pk="inventory.Device"`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROLES = ("anonymous", "outsider", "viewer", "operator", "admin", "owner")


@dataclass(frozen=True)
class Door:
    kind: str
    may: Mapping[str, Any]
    """Method → capability (page, api), or the statuses that it answers with."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """Part of the path → label of the model whose row it names."""
    found: int = 200
    """What GET answers to whoever may."""


def page(read: str = "view", write: str = "", found: int = 200, **ids: str) -> Door:
    may = ({"GET": read, "HEAD": read} if read else {}) | ({"POST": write} if write else {})
    return Door("page", may, ids, found)


def api(read: str = "view", found: int = 200, **rest: str) -> Door:
    writes = {name: value for name, value in rest.items() if name in METHODS}
    may = ({"GET": read, "HEAD": read} if read else {}) | writes
    return Door("api", may, {name: value for name, value in rest.items() if name not in METHODS}, found)


def rest(
    label: str,
    plural: str,
    writes: str = "",
    capability: str = "change",
    read: str = "view",
    app: str = "",
    delete: str = "",
    create: str = "",
) -> dict[str, Door]:
    row = {"u": ("PUT", "PATCH"), "d": ("DELETE",)}
    methods = {method: capability for each in writes for method in row.get(each, ())}
    methods |= {"DELETE": delete} if delete else {}
    listed = methods | ({"POST": create or capability} if "c" in writes else {})
    route = f"{app or label.partition('.')[0]}/{plural}/"
    reads = {"GET": read, "HEAD": read}
    return {route: Door("api", reads | listed), f"{route}<int:pk>/": Door("api", reads | methods, {"pk": label})}


def nothing(**plurals: str) -> dict[str, Door]:
    lists = [f"{app}/{plural}/" for app, names in plurals.items() for plural in names.split()]
    return {name: api() for name in lists} | {f"{name}<int:pk>/": api(found=404) for name in lists}


def anyone(**statuses: int | set[int]) -> Door:
    return Door("anyone", _with_head(statuses))


def person(**statuses: int | set[int]) -> Door:
    return Door("person", _with_head(statuses))


def operator() -> Door:
    return Door("operator", _with_head({"GET": 401}))


def _with_head(statuses: Mapping[str, int | set[int]]) -> dict[str, set[int]]:
    found = {method: {status} if isinstance(status, int) else status for method, status in statuses.items()}
    return {**({"HEAD": found["GET"]} if "GET" in found else {}), **found}


def every(status: int | set[int]) -> dict[str, int | set[int]]:
    return dict.fromkeys(METHODS, status)


def under(prefix: str, doors: Mapping[str, Door]) -> dict[str, Door]:
    return {prefix + route: door for route, door in doors.items()}


TEAM_PAGES = {
    "": page(),
    "topology/": page(),
    "topology/data/": page(),
    "devices/": page(),
    "devices/<int:pk>/": page(pk="inventory.Device"),
    "links/": page(),
    "links/<int:pk>/": page(pk="inventory.Link"),
    "import/": page("change", "change"),
    "import/<int:pk>/": page("change", "change", pk="inventory.InventoryImport"),
    "export/<slug:kind>.csv": page(),
    "paths/": page(found=302),
    "campaigns/<int:pk>/": page(pk="probing.Campaign"),
    "paths/<int:pk>/": page(pk="probing.Path"),
    "incidents/": page(),
    "incidents/<int:pk>/": page(pk="ticketing.Incident"),
}
TEAM_PAGES |= {
    "agents/": page(),
    "agents/enrol/": page("team.admin", "team.admin"),
    "agents/tokens/<int:pk>/revoke/": page("", "team.admin", pk="agents.EnrolmentToken"),
    "agents/picon/": page("team.admin", "team.admin"),
    "agents/picon/<int:pk>/revoke/": page("", "team.admin", pk="agents.LegacyToken"),
    "agents/<int:pk>/": page(pk="agents.Agent"),
    "agents/<int:pk>/approve/": page("", "team.admin", pk="agents.Agent"),
    "agents/<int:pk>/keep/": page("", "team.admin", pk="agents.Agent"),
    "agents/<int:pk>/revoke/": page("", "team.admin", pk="agents.Agent"),
    "agents/<int:pk>/remove/": page("team.admin", "team.admin", pk="agents.Agent"),
    "agents/<int:pk>/maintenance/": page("", "change", pk="agents.Agent"),
    "consoles/": page("console.read"),
    "consoles/search/": page("console.read"),
    "consoles/settings/": page("team.admin", "team.admin"),
    "consoles/<int:pk>/": page("console.read", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/ticket/": page("", "console.read", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/test/": page("console.read", "console.write", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/detect/": page("change", "change", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/setup/": page("change", "change", pk="consoles.ConsolePort"),
    "consoles/new/": page("change", "change"),
    "consoles/<int:pk>/far/": page("change", "change", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/remove/": page("", "change", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/outlet/": page("change", "change", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/power/": page("console.write", "console.write", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/log/": page("console.read", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/log/line/": page("console.read", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/log/data/": page("console.read", pk="consoles.ConsolePort"),
    "consoles/<int:pk>/log/<slug:shape>/": page("console.read", pk="consoles.ConsolePort"),
    "consoles/split/": page("console.read"),
    "consoles/rules/": page("console.read"),
    "consoles/rules/new/": page("change", "change"),
    "consoles/rules/<int:pk>/": page("change", "change", pk="consoles.ConsoleRule"),
    "consoles/rules/<int:pk>/delete/": page("", "change", pk="consoles.ConsoleRule"),
    "consoles/rules/packs/<slug:pack>/": page("", "change"),
    "audit/": page("team.admin"),
    "audit/^export\\.(?P<form>csv|jsonl)$": page("team.admin"),
    "audit/<str:model>/<int:pk>/": page(pk="inventory.Site"),
    "team/": page("view", "team.admin"),
    "team/leave/": page("", "view"),
    "team/members/<int:pk>/": page("", "team.admin", pk="tenancy.Membership"),
    "team/members/<int:pk>/remove/": page("", "team.admin", pk="tenancy.Membership"),
    "team/invitations/<int:pk>/again/": page("", "team.admin", pk="tenancy.Invitation"),
    "team/invitations/<int:pk>/withdraw/": page("", "team.admin", pk="tenancy.Invitation"),
    "team/tokens/": page("team.admin", "team.admin"),
    "team/tokens/<int:pk>/revoke/": page("", "team.admin", pk="tenancy.ApiToken"),
    "team/settings/": page("team.admin", "team.admin"),
}
API = {
    "schema/": anyone(GET=200),
    "docs/": anyone(GET=200),
    "prometheus/targets/": api(),
    "tenancy/audit/": api("team.admin"),
    **rest("tenancy.Team", "teams", "u", "team.admin"),
    **rest("tenancy.Membership", "members", "ud", "team.admin"),
    **rest("tenancy.Invitation", "invitations", "cd", "team.admin", "team.admin"),
    **rest("tenancy.ApiToken", "tokens", "cd", "team.admin", "team.admin"),
    **rest("agents.Agent", "agents", "cud", delete="team.admin", create="team.admin"),
    "agents/agents/<int:pk>/approve/": api("", POST="team.admin", pk="agents.Agent"),
    "agents/agents/<int:pk>/keep/": api("", POST="team.admin", pk="agents.Agent"),
    "agents/agents/<int:pk>/revoke/": api("", POST="team.admin", pk="agents.Agent"),
    **rest("agents.EnrolmentToken", "enrolment-tokens", "cd", "team.admin", "team.admin"),
    **rest("agents.LegacyToken", "picon-tokens", "cd", "team.admin", "team.admin"),
    "agents/enrol/": anyone(POST=400),
    "agents/register/": anyone(POST=401),
    "agents/heartbeat/": anyone(POST=401),
    "agents/rotate/": anyone(POST=401),
    **rest("inventory.Site", "sites", "cud"),
    **rest("inventory.DeviceRole", "device-roles", "cud"),
    **rest("inventory.Manufacturer", "manufacturers", "cud"),
    **rest("inventory.DeviceType", "device-types", "cud"),
    **rest("inventory.Platform", "platforms", "cud"),
    **rest("inventory.TopologySource", "sources", "cud"),
    **rest("inventory.Device", "devices", "cud"),
    **rest("inventory.Interface", "interfaces", "cud"),
    **rest("inventory.Link", "links", "cud"),
    **rest("inventory.HalfLink", "half-links"),
    **rest("inventory.Prefix", "prefixes"),
    **rest("inventory.TopologyEvent", "events"),
    **rest("inventory.Endpoint", "endpoints", "cud"),
    "inventory/paths/": api(),
    **rest("consoles.ConsolePort", "ports", "u", read="console.read"),
    **rest("consoles.ConsoleRule", "rules", "cud", read="console.read"),
    "consoles/ports/<int:pk>/ticket/": api("", POST="console.read", pk="consoles.ConsolePort"),
    "consoles/ports/<int:pk>/run/": api("", POST="console.write", pk="consoles.ConsolePort"),
    "consoles/ports/<int:pk>/socket/": api("", POST="console.read", pk="consoles.ConsolePort"),
    **rest("probing.Campaign", "campaigns", "cud"),
    **rest("probing.Path", "paths"),
    "probing/paths/<int:path_id>/minutes/": api(path_id="probing.Path"),
    **rest("ticketing.Incident", "incidents"),
    **rest("ticketing.IncidentEvent", "incident-events"),
    **rest("ticketing.Ticket", "tickets"),
    **rest("ticketing.TicketOperation", "ticket-operations"),
    **rest("ticketing.Desk", "desks", "cud"),
    "ticketing/tickets/<int:pk>/retry/": api("", POST="ticket.manage", pk="ticketing.Ticket"),
}
# Read only. What netops has none of is an empty list to everyone who may ask.
NETBOX = {
    "": anyone(GET=200),
    "status/": api(),
    "schema/": anyone(GET=200),
    "<slug:app>/": api(),
    **rest("tenancy.Team", "tenants", app="tenancy"),
    **rest("inventory.Site", "sites", app="dcim"),
    **rest("inventory.DeviceRole", "device-roles", app="dcim"),
    **rest("inventory.Manufacturer", "manufacturers", app="dcim"),
    **rest("inventory.DeviceType", "device-types", app="dcim"),
    **rest("inventory.Platform", "platforms", app="dcim"),
    **rest("inventory.Device", "devices", app="dcim"),
    **rest("inventory.Interface", "interfaces", app="dcim"),
    "^dcim/interfaces/(?P<pk>\\d{15})/$": api(pk="router of inventory.Device"),
    **rest("inventory.Link", "cables", app="dcim"),
    **rest("inventory.Prefix", "prefixes", app="ipam"),
    "^ipam/prefixes$": api(),
    **rest("inventory.Interface", "ip-addresses", app="ipam"),
    **nothing(
        circuits="circuits circuit-groups circuit-terminations circuit-types provider-accounts provider-networks"
        " providers",
        core="data-files data-sources jobs object-changes",
        dcim="cable-terminations connected-device console-port-templates console-ports console-server-ports"
        " device-bays device-bay-templates front-ports interface-templates inventory-item-roles inventory-items"
        " locations mac-addresses module-bays module-types modules power-feeds power-outlets power-panels power-ports"
        " rack-groups rack-reservations rack-roles rack-types racks rear-ports regions site-groups virtual-chassis"
        " virtual-device-contexts",
        extras="bookmarks config-contexts config-templates custom-field-choice-sets custom-fields custom-links"
        " event-rules export-templates image-attachments journal-entries saved-filters scripts tags webhooks",
        ipam="aggregates asn-ranges asns fhrp-group-assignments fhrp-groups ip-ranges rirs roles route-targets"
        " service-templates services vlan-groups vlans vrfs",
        tenancy="contact-assignments contact-groups contact-roles contacts tenant-groups",
        users="groups permissions tokens users",
        virtualization="cluster-groups cluster-types clusters interfaces virtual-disks virtual-machines",
        vpn="ike-policies ike-proposals ipsec-policies ipsec-profiles ipsec-proposals l2vpn-terminations l2vpns"
        " tunnel-groups tunnel-terminations tunnels",
        wireless="wireless-lan-groups wireless-lans wireless-links",
    ),
}
ROUTES: dict[str, Door] = {
    "": person(GET=302),
    "sign-in/": anyone(**every({200, 302, 405})),
    "sign-in/code/": anyone(**every(302)),
    "sign-in/<slug:provider_id>/": anyone(**every(404)),
    "sign-in/<slug:provider_id>/callback/": anyone(**every(404)),
    "sign-out/": anyone(POST=302),
    "invitations/<str:secret>/": anyone(GET=404, POST=404),
    "account/": person(GET=200),
    "account/email/": person(GET=200, POST={200, 302}),
    "account/email/<str:key>/": anyone(GET=200, POST=404),
    "account/password/": person(GET={200, 302}, POST={200, 302}),
    "account/password/first/": person(GET=302, POST=302),
    "account/confirm/": person(GET={200, 302}, POST={200, 302}),
    "account/confirm/code/": person(GET=302, POST=302),
    "account/two-factor/": person(GET={200, 302}, POST={200, 302}),
    "account/two-factor/off/": person(**every({302, 404, 405})),
    "account/recovery-codes/": person(GET={302, 404}),
    "account/recovery-codes/new/": person(GET={302, 404}, POST={302, 404}),
    "account/ssh-keys/": person(GET={200, 302}, POST={200, 302}),
    "account/ssh-keys/<int:pk>/remove/": person(POST=404),
    "account/ssh-password/": person(GET={200, 302}, POST={200, 302}),
    "account/sessions/<int:pk>/end/": person(POST=404),
    "health/": anyone(**every(503)),
    "metrics": operator(),
    "picon/<str:secret>/api/register": anyone(POST=404),
    "picon/<str:secret>/api/register/": anyone(POST=404),
    **under("t/<slug:slug>/", TEAM_PAGES),
    **under("api/", API),
    **under("netbox/api/", NETBOX),
}
# Parts of paths that name no row of a team: a value that nothing has.
PARTS = {
    "app": "dcim",
    "form": "jsonl",
    "kind": "devices",
    "shape": "text",
    "model": "inventory.site",
    "provider_id": "sso",
    "key": "nokey",
    "secret": "nosecret",
    "pack": "linux",
    "pk": "987654321987",
}
# All under it is for superusers: others are sent to sign-in or find nothing, whatever the method (test_admin.py has the
# rest, for every model).
SUPERUSERS = "admin/"
# Sockets: path → capability of the team's members who may hold it open, or what else it asks for.
SOCKETS = {"ws/t/<slug:slug>/events": "view"}
# A GET without a query of these is refused before anything is read.
NEEDS_QUERY = {"api/inventory/paths/": "source=dev1&target=dev2"}
