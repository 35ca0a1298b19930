"""What holds for every page: who sees it, nothing inline, hostile names, no query a row."""

import re
from html.parser import HTMLParser
from pathlib import Path as File

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.scope import team_scope
from inventory.models import HalfLink, TopologySource
from netops.vendor import ICONS
from probing.models import Campaign, Path, minute_of
from tenancy.models import Team, User
from tests.conftest import signed_in
from tests.rows import Lab, campaign_rows, lab_rows, minute_row
from ticketing.models import Desk, Incident
from ticketing.services import desk_create, incident_report

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def all_pages(lab: Lab) -> dict[str, str]:
    """Every page of the red team by name."""
    assert lab.campaign
    rows = {
        "device": f"devices/{lab.devices['R1'].pk}/",
        "link": f"links/{lab.links['R2–R4'].pk}/",
        "campaign": f"campaigns/{lab.campaign.pk}/",
        "path": f"paths/{lab.paths[0].pk}/",
        "incident": f"incidents/{Incident.objects.get().pk}/",
        "agent": f"agents/{lab.campaign.agent_id}/",
    }
    names = {
        "overview": "",
        **{name: f"{name}/" for name in ("topology", "incidents", "devices", "links", "agents")},
        **rows,
    }
    return {name: f"/t/red/{path}" for name, path in names.items()}


@pytest.fixture
def pages(team: Team) -> dict[str, str]:
    with team_scope(team.pk):
        lab = lab_rows()
        campaign_rows(lab)
        desk_create(name="noc", driver="email", settings=DESK)
        report(lab)
        return all_pages(lab)


DESK = {"host": "127.0.0.1", "port": 25, "sender": "a@example.org", "to": ["b@example.org"], "security": "none"}
NAMES = (
    "overview", "topology", "incidents", "devices", "links", "agents", "device", "link", "campaign", "path", "incident",
    "agent",
)  # fmt: skip


def report(lab: Lab, title: str = "Link R2→R4 is down") -> Incident:
    return incident_report(
        kind="link",
        element=f"link:{lab.links['R2–R4'].pk}",
        source="probing:1",
        title=title,
        evidence={"direction": "R2→R4", "paths": [{"text": f"dev1 {title}", "state": "down"}], "gain": 12.5},
        reason="2 of 8 walks show it.",
    )


class Inline(HTMLParser):
    """Collects what a strict content security policy refuses, and what a page must have once."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        names = {name: value or "" for name, value in attrs}
        if tag == "style" or (tag == "script" and "src" not in names):
            self.refused.append(tag)
        self.refused += [f"{tag} {name}" for name in names if name == "style" or name.startswith(("on", "hx-on"))]
        self.refused += [
            value for value in names.values() if value.startswith(("javascript:", "http:", "https:", "//"))
        ]
        if "id" in names:
            self.ids.append(names["id"])


@pytest.mark.parametrize("name", NAMES)
def test_members_see_it_and_others_do_not(
    name: str, pages: dict[str, str], alice: User, bob: User, charlie: User
) -> None:
    assert signed_in(alice).get(pages[name]).status_code == 200
    assert signed_in(bob).get(pages[name]).status_code == 200
    assert signed_in(charlie).get(pages[name]).status_code == 404
    answer = Client().get(pages[name])
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/sign-in/?next={pages[name]}")


@pytest.mark.parametrize("htmx", [False, True], ids=["whole", "part"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(
    name: str, htmx: bool, pages: dict[str, str], bob_client: Client
) -> None:
    html = bob_client.get(pages[name], headers={"HX-Request": "true"} if htmx else {}).content.decode()
    parsed = Inline(html)
    assert parsed.refused == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert parsed.tags.count("h1") == (0 if htmx and name not in ("device", "link", "path", "incident", "agent") else 1)
    assert ("html" in parsed.tags) != htmx


def test_the_policy_is_strict(bob_client: Client, pages: dict[str, str]) -> None:
    policy = bob_client.get(pages["topology"]).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "object-src 'none'" in policy


def test_hostile_names_are_text(team: Team, bob_client: Client) -> None:
    with team_scope(team.pk):
        lab = lab_rows()
        campaign = campaign_rows(lab)
        report(lab, HOSTILE[:60])
        for row in (*lab.devices.values(), *lab.links.values(), campaign, lab.source, campaign.agent):
            type(row).objects.filter(pk=row.pk).update(name=HOSTILE[:60])
        campaign.notes = [HOSTILE]
        campaign.save()
        for path in lab.paths:
            path.out_names = path.back_names = [HOSTILE, HOSTILE]
            path.save()
        Desk.objects.update(name=HOSTILE[:60])
        found = all_pages(lab)
    for url in found.values():
        html = bob_client.get(url).content.decode()
        assert Inline(html).refused == []
        assert "alert(1)" in html
        assert "<img" not in html
    assert bob_client.get("/t/red/topology/data/").headers["Content-Type"] == "application/json"


def test_empty_team_is_told_what_to_do(bob_client: Client) -> None:
    for page, words in {
        "": "Add a BGP speaker",
        "topology/": "No topology yet",
        "paths/": "No campaign yet",
        "incidents/": "No incidents",
        "devices/": "No devices yet",
        "links/": "No links yet",
    }.items():
        assert words in bob_client.get(f"/t/red/{page}").content.decode()


@pytest.mark.parametrize("name", ["overview", "topology", "devices", "links", "campaign", "incidents"])
def test_queries_do_not_grow_with_rows(name: str, pages: dict[str, str], team: Team, bob_client: Client) -> None:
    bob_client.get(pages[name])
    with CaptureQueriesContext(connection) as few:
        bob_client.get(pages[name])
    with team_scope(team.pk):
        grow(team)
    with CaptureQueriesContext(connection) as many:
        answer = bob_client.get(pages[name])
    assert answer.status_code == 200
    assert len(many) == len(few)


def grow(team: Team) -> None:
    """Three times as many rows of everything."""
    lab = Lab(TopologySource.objects.get())
    for number in range(12):
        lab.device(f"X{number}")
        if number:
            lab.link(f"X{number - 1}", f"X{number}", (f"10.9.{number}.0", f"10.9.{number}.1"))
    for number, link in enumerate(lab.links.values()):
        incident_report(
            kind="link", element=f"link:{link.pk}", source="probing:1", title=f"t{number}", evidence={}, reason="r"
        )
    campaign = Campaign.objects.get()
    halves = list(HalfLink.objects.values_list("pk", flat=True)[:3])
    for number in range(6):
        path = Path.objects.create(
            campaign=campaign, target_id=campaign.targets.get().endpoint_id, key=f"more {number}", out=halves,
            back=halves,
            out_names=["a", "b"], back_names=["b", "a"],
        )  # fmt: skip
        minute_row(path, minute_of(timezone.now()), [1.0])


@pytest.mark.parametrize("url", ["/t/red/devices/999999/", "/t/red/links/999999/", "/t/red/nothing/", "/nothing/"])
def test_not_found_is_in_style(url: str, bob_client: Client) -> None:
    answer = bob_client.get(url)
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.content.decode()


def test_a_foreign_team_looks_like_none(charlie_client: Client, team: Team) -> None:
    foreign, none = charlie_client.get("/t/red/"), charlie_client.get("/t/none/")
    hide = re.compile(rb'value="[^"]*"')
    assert (foreign.status_code, none.status_code) == (404, 404)
    assert hide.sub(b"", foreign.content) == hide.sub(b"", none.content)


def test_an_error_of_ours_is_in_style(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    monkeypatch.setattr("inventory.selectors.network_summary", lambda: 1 / 0)
    answer = client.get("/t/red/")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.content.decode()
    assert Inline(answer.content.decode()).refused == []


def test_every_icon_named_is_vendored_and_no_other() -> None:
    """Templates name them in tags and includes, Python in the table of states."""
    from core.templatetags.shell import STATES

    root = File(settings.BASE_DIR)
    texts = [path.read_text() for room in root.glob("*/templates") for path in room.rglob("*.html")]
    named = {name for text in texts for name in re.findall(r'{% icon "([\w-]+)"', text)}
    named |= {name for text in texts for name in re.findall(r'symbol="([\w-]+)"', text)}
    named |= {symbol for _, symbol, _ in STATES.values()}
    assert named == set(ICONS)
