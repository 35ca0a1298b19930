"""The audit trail's pages and files: who may, what they show, how they page, how they are saved."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client

from core import scope
from core.scope import acting, team_scope
from core.streaming import by_key, csv_lines, csv_text, streamed
from inventory.models import Site
from tenancy.models import Membership, Team, User
from tests.conftest import signed_in
from tests.teams import Rows

AUDIT = "/t/red/audit/"


@pytest.fixture
def site(team: Team, alice: User) -> Site:
    with acting(door="page", user=alice.pk, name="alice", request="r1"), team_scope(team.pk):
        made: Site = Site.objects.create(name="Berlin", slug="berlin", sort_key="b")
    with acting(door="task", name="tidy"), team_scope(team.pk):
        made.name = "<b>Hamburg</b>"
        made.save()
    return made


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def body(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    assert isinstance(answer, StreamingHttpResponse)
    return b"".join(answer).decode()


def test_the_trail_is_for_those_who_run_the_team(
    alice_client: Client, bob_client: Client, charlie_client: Client, client: Client, site: Site
) -> None:
    for path in (AUDIT, f"{AUDIT}export.csv", f"{AUDIT}export.jsonl"):
        assert alice_client.get(path).status_code == 200
        assert bob_client.get(path).status_code == 403
        assert charlie_client.get(path).status_code == 404
        assert client.get(path).status_code == 302
        assert alice_client.post(path).status_code == 405


def test_an_objects_history_is_for_every_member(
    alice_client: Client, bob_client: Client, charlie_client: Client, site: Site, team: Team
) -> None:
    path = f"{AUDIT}inventory.site/{site.pk}/"
    assert "Berlin" in text(bob_client, path)
    assert charlie_client.get(path).status_code == 404
    with team_scope(team.pk):
        seat = Membership.objects.first()
    assert seat
    assert alice_client.get(f"{AUDIT}tenancy.membership/{seat.pk}/").status_code == 200
    assert bob_client.get(f"{AUDIT}tenancy.membership/{seat.pk}/").status_code == 403


def test_an_objects_history_outlives_it(alice_client: Client, site: Site, team: Team) -> None:
    pk = site.pk
    with team_scope(team.pk):
        site.delete()
    shown = text(alice_client, f"{AUDIT}inventory.site/{pk}/")
    assert "Deleted" in shown
    assert "Made" in shown


@pytest.mark.parametrize("path", ["inventory.site/999999/", "inventory.halflink/1/", "auth.user/1/", "tenancy.team/1/"])
def test_what_has_no_history_is_not_found(path: str, alice_client: Client) -> None:
    assert alice_client.get(AUDIT + path).status_code == 404


def test_a_foreign_objects_history_looks_like_one_that_is_not_there(
    alice_client: Client, other_team: Team, charlie: User
) -> None:
    foreign = Rows(other_team, "foreign").all()
    for model in (Site, Membership):
        label = model._meta.label_lower
        there, nowhere = (alice_client.get(f"{AUDIT}{label}/{pk}/") for pk in (foreign[model].pk, 999_999))
        assert there.status_code == nowhere.status_code == 404
        assert "foreign" not in there.content.decode()


def test_it_shows_who_what_before_and_after(alice_client: Client, site: Site) -> None:
    shown = text(alice_client, AUDIT)
    assert "<del>Berlin</del>" in shown
    assert "<ins>&lt;b&gt;Hamburg&lt;/b&gt;</ins>" in shown
    assert "<b>Hamburg" not in shown
    assert ">tidy<" in shown
    assert "<code>r1</code>" in shown
    assert f'href="{AUDIT}inventory.site/{site.pk}/"' in shown


def test_filters_stand_in_the_address(alice_client: Client, site: Site) -> None:
    shown = text(alice_client, f"{AUDIT}?model=inventory.site&action=insert&door=page&who=alice&q=berlin")
    assert "state-up" in shown
    assert "<del>" not in shown
    assert '<option value="inventory.site" selected>' in shown
    assert 'value="berlin"' in shown
    assert "export.csv?model=inventory.site&amp;action=insert" in shown
    assert "Nothing in the trail matches" in text(alice_client, f"{AUDIT}?q=nowhere")


def test_a_filter_that_means_nothing_is_said(alice_client: Client, site: Site) -> None:
    shown = text(alice_client, f"{AUDIT}?since=yesterday&door=window&start=x")
    assert "Since: &#x27;yesterday&#x27; does not fit" in shown
    assert "Door: &#x27;window&#x27; does not fit" in shown
    assert "no key of the trail" in text(alice_client, f"{AUDIT}?start=x")
    refused = alice_client.get(f"{AUDIT}export.csv?since=yesterday")
    assert refused.status_code == 400
    assert refused.content.decode().startswith("since: 'yesterday' does not fit")


def test_older_pages(alice_client: Client, team: Team, alice: User) -> None:
    with team_scope(team.pk):
        Site.objects.bulk_create(
            Site(name=f"site {number:03}", slug=f"s{number}", sort_key=f"{number}") for number in range(120)
        )
    seen: list[str] = []
    path = f"{AUDIT}?model=inventory.site"
    for _ in range(3):
        answer = alice_client.get(path)
        seen += [entry.title for entry in answer.context["entries"]]
        path = f"{AUDIT}?{answer.context['older']}"
    assert answer.context["older"] == ""
    assert seen == [f"site {number:03}" for number in reversed(range(120))]
    assert "Older" not in answer.content.decode()
    assert "Newest" in answer.content.decode()


def test_saved_as_csv(alice_client: Client, site: Site) -> None:
    saved = list(csv.DictReader(io.StringIO(body(alice_client, f"{AUDIT}export.csv?model=inventory.site"))))
    assert [(row["who"], row["action"], row["field"], row["before"], row["after"]) for row in saved] == [
        ("tidy", "update", "name", "Berlin", "<b>Hamburg</b>"),
        ("alice", "insert", "name", "", "Berlin"),
        ("alice", "insert", "slug", "", "berlin"),
    ]


def test_saved_as_json_lines(alice_client: Client, site: Site) -> None:
    saved = [json.loads(line) for line in body(alice_client, f"{AUDIT}export.jsonl?model=inventory.site").splitlines()]
    assert [(each["who"], each["door"], each["action"], each["object"]) for each in saved] == [
        ("tidy", "task", "update", site.pk),
        ("alice", "page", "insert", site.pk),
    ]
    assert saved[0]["changes"] == [{"field": "name", "before": "Berlin", "after": "<b>Hamburg</b>"}]


def test_the_whole_is_saved_however_long(alice_client: Client, team: Team) -> None:
    with team_scope(team.pk):
        Site.objects.bulk_create(
            Site(name=f"site {number}", slug=f"s{number}", sort_key=f"{number}") for number in range(2345)
        )
    lines = body(alice_client, f"{AUDIT}export.jsonl?model=inventory.site").splitlines()
    assert len({json.loads(line)["object"] for line in lines}) == len(lines) == 2345


def test_formulas_in_saved_cells_are_disarmed(alice_client: Client, team: Team) -> None:
    hostile = "=HYPERLINK(1)"
    with team_scope(team.pk):
        Site.objects.create(name=hostile, slug="s", sort_key="s")
    saved = body(alice_client, f"{AUDIT}export.csv?model=inventory.site")
    assert f"'{hostile}" in saved
    assert f",{hostile}" not in saved


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "'=1", "''=1", "'quoted", "plain", "", "a=1"])
def test_a_cell_comes_back_as_it_was(cell: str) -> None:
    written = next(csv.reader(io.StringIO(csv_lines([[cell]]))), [""])[0]
    assert not written.startswith(("=", "+", "-", "@", "\t"))
    assert csv_text(written) == cell


def test_a_body_is_read_in_scope_and_leaves_none_behind(team: Team) -> None:
    with team_scope(team.pk):
        Site.objects.bulk_create(Site(name=f"n{i}", slug=f"s{i}", sort_key="s") for i in range(5))

    def pieces() -> Iterator[str]:
        for rows in by_key(Site.objects.values("id", "name"), 2):
            yield ",".join(row["name"] for row in rows)

    answer = streamed(team.pk, pieces, content_type="text/plain", filename="sites.txt")
    read = []
    for piece in answer:
        assert scope._team.get() is None
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM inventory_site")
            assert cursor.fetchone() == (0,)
        read.append(piece)
    assert read == [b"n0,n1", b"n2,n3", b"n4"]
    assert answer["Content-Disposition"] == 'attachment; filename="sites.txt"'


def test_object_pages_lead_to_their_history(bob_client: Client, team: Team) -> None:
    from tests.rows import campaign_rows, lab_rows

    with team_scope(team.pk):
        lab = lab_rows()
        campaign = campaign_rows(lab)
    device, link = lab.devices["R1"], lab.links["R2–R4"]
    for page, history in (
        (f"devices/{device.pk}/", f"inventory.device/{device.pk}/"),
        (f"links/{link.pk}/", f"inventory.link/{link.pk}/"),
        (f"campaigns/{campaign.pk}/", f"probing.campaign/{campaign.pk}/"),
    ):
        assert f'href="{AUDIT}{history}"' in text(bob_client, f"/t/red/{page}")
        assert text(bob_client, AUDIT + history)


def test_a_removed_member_is_still_named(team: Team, alice: User, bob: User) -> None:
    with team_scope(team.pk):
        Membership.objects.get(user=bob).delete()
    assert "bob" in text(signed_in(alice), f"{AUDIT}?model=tenancy.membership&action=delete")
