"""The dialect of the REST API, tried on the inventory: paging, filters, forms, bulk writes, ETags, errors."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from core.api import filters
from core.scope import team_scope
from inventory.models import Device, DeviceRole, Site, sorted_name
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.rows import lab_rows

DEVICES = "/api/inventory/devices/"
SITES = "/api/inventory/sites/"


@pytest.fixture
def network(team: Team) -> Team:
    with team_scope(team.pk):
        lab_rows()
        berlin = Site.objects.create(**sorted_name("Berlin"), slug="berlin")
        role = DeviceRole.objects.create(**sorted_name("Core"), slug="core")
        Device.objects.filter(name__in=["R1", "R2"]).update(site=berlin)
        Device.objects.filter(name="R1").update(role=role, serial="SN 1")
    return team


def call(client: Client, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    answer = getattr(client, method)(path, body, content_type="application/json", headers=headers)
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def names(client: Client, query: str) -> list[str]:
    answer = client.get(f"{DEVICES}?{query}")
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


def refused(client: Client, path: str) -> dict[str, list[str]]:
    answer = client.get(path)
    assert answer.status_code == 400, answer.content
    said: dict[str, list[str]] = answer.json()
    return said


# Lists


def test_pages_by_offset_follow_each_other(alice_client: Client, network: Team) -> None:
    seen: list[str] = []
    url: str | None = f"{DEVICES}?limit=4&status=active"
    while url:
        page = alice_client.get(url).json()
        assert page["count"] == 6
        seen += [row["name"] for row in page["results"]]
        url = page["next"]
    assert seen == ["R1", "R2", "R3", "R4", "R5", "R6"]
    back = alice_client.get(f"{DEVICES}?limit=4&offset=4").json()["previous"]
    assert [row["name"] for row in alice_client.get(back).json()["results"]] == seen[:4]


def test_pages_by_start_are_in_the_order_of_ids(alice_client: Client, network: Team) -> None:
    seen: list[int] = []
    url: str | None = f"{DEVICES}?start=0&limit=4"
    while url:
        page = alice_client.get(url).json()
        assert (page["count"], page["previous"]) == (None, None)
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == 6
    assert seen == sorted(seen)
    assert "by start" in refused(alice_client, f"{DEVICES}?start=1&offset=1")["offset"][0]
    assert "by start" in refused(alice_client, f"{DEVICES}?start=1&ordering=name")["ordering"][0]


def test_limit_0_is_the_most_there_can_be(alice_client: Client, team: Team) -> None:
    with team_scope(team.pk):
        Site.objects.bulk_create(Site(**sorted_name(f"s{n}"), slug=f"s{n}") for n in range(1005))
    page = alice_client.get(f"{SITES}?limit=0").json()
    assert (page["count"], len(page["results"])) == (1005, 1000)
    assert "offset=1000" in page["next"]
    assert len(alice_client.get(SITES).json()["results"]) == 50


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=R1&name=R3", "R1 R3"), ("name__n=R1&name__n=R3", "R2 R4 R5 R6"), ("name__in=R1,R2", "R1 R2"),
        ("name__ic=r1", "R1"), ("name__nic=1", "R2 R3 R4 R5 R6"), ("name__isw=r", "R1 R2 R3 R4 R5 R6"),
        ("name__nisw=r", ""), ("name__iew=6", "R6"), ("name__niew=6", "R1 R2 R3 R4 R5"), ("name__ie=r4", "R4"),
        ("name__nie=r4", "R1 R2 R3 R5 R6"), ("serial__empty=false", "R1"), ("serial__empty=true", "R2 R3 R4 R5 R6"),
        ("site=berlin", "R1 R2"), ("site__n=berlin", "R3 R4 R5 R6"), ("site=berlin&role=core", "R1"),
        ("site_id__empty=true", "R3 R4 R5 R6"), ("status=active&name=R1", "R1"), ("status__n=active", ""),
        ("router_id=10.255.0.1", "R2"), ("up=true&q=r5", "R5"), ("up__n=true", ""),
        ("first_seen__gte=2001-01-01T00:00:00Z&name=R1", "R1"),
        ("first_seen__lt=2001-01-01T00:00:00Z", ""), ("first_seen__lt=2001-01-01", ""),
        ("first_seen=0285-04-30T09:52:51%2B23:07", ""), ("ordering=-name&limit=2", "R6 R5"),
        ("ordering=site,-name&limit=2", "R2 R1"), ("q=%25", ""), ("name__ic=_", ""),
    ],
)  # fmt: skip
def test_filters(alice_client: Client, network: Team, query: str, found: str) -> None:
    assert names(alice_client, query) == found.split()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"), ("id=x", "id"), ("id__gte=1e3", "id__gte"), ("up=perhaps", "up"), ("up=", "up"),
        ("first_seen__lt=yesterday", "first_seen__lt"), ("router_id=300.1.1.1", "router_id"), ("brief=null", "brief"),
        ("fields=id,colour", "fields"), ("omit=colour", "omit"), ("ordering=colour", "ordering"), ("limit=x", "limit"),
        ("offset=-1", "offset"), ("start=x", "start"), ("name=%00", "name"), ("name__gte=a", "name__gte"),
        ("limit=99999999999999999999999", "limit"), ("first_seen=0001-01-01T00:00%2B23:00", "first_seen"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_named(alice_client: Client, network: Team, query: str, field: str) -> None:
    assert list(refused(alice_client, f"{DEVICES}?{query}")) == [field]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["name__ic", "serial__n", "id__in", "id", "site", "up", "q", "limit"]), st.text(max_size=8)
    )
)
def test_no_query_is_a_server_error(query: dict[str, str]) -> None:
    from core.api.resource import resources

    known = resources[Device].filters()
    for name, value in query.items():
        if name in known:
            with suppress(ValueError):
                assert known[name].q([value]) is not None


def test_forms_of_a_row(alice_client: Client, network: Team) -> None:
    def keys(query: str) -> list[str]:
        return list(alice_client.get(f"{DEVICES}?{query}").json()["results"][0])

    assert keys("fields=name,id") == ["name", "id"]
    assert keys("brief=1") == keys("brief=true") == ["id", "url", "display", "name"]
    assert "site" not in keys("omit=site,role")
    whole = alice_client.get(DEVICES).json()["results"][0]
    assert whole["url"] == f"http://testserver{DEVICES}{whole['id']}/"
    assert whole["status"] == {"value": "active", "label": "Active"}
    assert (whole["site"]["slug"], whole["site"]["display"]) == ("berlin", "Berlin")
    assert set(whole["site"]) == {"id", "url", "display", "name", "slug"}
    assert alice_client.get(whole["site"]["url"]).json() == whole["site"]
    assert alice_client.get(whole["url"]).json() == whole
    assert list(alice_client.get(f"{whole['url']}?fields=name").json()) == ["name"]


def test_addresses_are_those_of_the_host_that_was_asked(alice_client: Client, network: Team) -> None:
    assert alice_client.get(DEVICES, HTTP_HOST="127.0.0.1").json()["results"][0]["url"].startswith("http://127.0.0.1/")
    assert alice_client.get(DEVICES, HTTP_HOST="evil.example").status_code == 400


# Writes


def test_a_row_is_made_changed_and_deleted(alice_client: Client, team: Team) -> None:
    answer = alice_client.post(SITES, {"name": "Paris 2"}, "application/json")
    assert answer.status_code == 201
    made = answer.json()
    assert answer["Location"] == made["url"]
    assert (made["slug"], made["display"]) == ("paris-2", "Paris 2")
    assert call(alice_client, "patch", made["url"], {"name": "Paris"})["slug"] == "paris-2"
    assert call(alice_client, "put", made["url"], {"name": "Lyon", "slug": "lyon"})["name"] == "Lyon"
    assert "name" in call(alice_client, "put", made["url"], {"slug": "x"}, 400)
    call(alice_client, "delete", made["url"], status=204)
    call(alice_client, "get", made["url"], status=404)


def test_lists_are_made_changed_and_deleted_as_a_whole(alice_client: Client, team: Team) -> None:
    made = call(alice_client, "post", SITES, [{"name": "a"}, {"name": "b"}], 201)
    assert [row["name"] for row in made] == ["a", "b"]
    changes = [{"id": made[1]["id"], "name": "B"}, {"id": made[0]["id"], "name": "A"}]
    assert [row["name"] for row in call(alice_client, "patch", SITES, changes)] == ["B", "A"]
    call(alice_client, "delete", SITES, [{"id": row["id"]} for row in made], 204)
    with team_scope(team.pk):
        assert not Site.objects.exists()


def test_where_one_fails_nothing_is_done_and_each_is_told(alice_client: Client, team: Team) -> None:
    said = call(alice_client, "post", SITES, [{"name": "a"}, {"name": "a"}, {"nmae": "b"}, "c"], 400)
    assert said[0] == {}
    assert "already a site" in said[1]["name"][0]
    assert said[2] == {"nmae": ["There is no such field here."]}
    assert said[3] == {"detail": ["Send a JSON object."]}
    with team_scope(team.pk):
        assert not Site.objects.exists()
    first, second = call(alice_client, "post", SITES, [{"name": "a"}, {"name": "b"}], 201)
    said = call(
        alice_client, "patch", SITES, [{"id": first["id"], "name": "x"}, {"id": second["id"], "name": "x"}], 400
    )
    assert [list(each) for each in said] == [[], ["name"]]
    said = call(alice_client, "delete", SITES, [{"id": first["id"]}, {"id": 10**6}], 400)
    assert said[1] == {"id": ["There is no row with the id 1000000."]}
    with team_scope(team.pk):
        assert sorted(Site.objects.values_list("name", flat=True)) == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [[], {"id": 1}, "x", [{"name": "x"}], [{"id": True}], [{"id": 1}, {"id": 1}], [{"id": "1"}], [{"id": 1}] * 1001],
)
def test_a_list_that_makes_no_sense_is_refused(alice_client: Client, team: Team, body: Any) -> None:
    for method in ("patch", "put", "delete"):
        assert call(alice_client, method, SITES, body, 400)


def test_references_by_id_name_or_slug(alice_client: Client, network: Team) -> None:
    with team_scope(network.pk):
        berlin = Site.objects.get().pk
    for number, site in enumerate([berlin, str(berlin), {"id": berlin}, {"slug": "berlin"}, {"name": "Berlin"}]):
        made = call(alice_client, "post", DEVICES, {"name": f"fw-{number}", "site": site}, 201)
        assert made["site"]["id"] == berlin
    for wrong in (10**6, {"name": "Rome"}, "Berlin", {}, {"colour": 1}, True, [berlin], {"name": "a\x00"}, 10**30):
        said = call(alice_client, "post", DEVICES, {"name": "fw-x", "site": wrong}, 400)
        assert list(said) == ["site"]
    assert call(alice_client, "patch", made["url"], {"site": None})["site"] is None


def test_another_teams_row_is_as_unknown_as_none(alice_client: Client, charlie_client: Client, network: Team) -> None:
    theirs = call(charlie_client, "post", SITES, {"name": "Theirs"}, 201)["id"]

    def told(site: int) -> str:
        return str(call(alice_client, "post", DEVICES, {"name": "fw", "site": site}, 400)).replace(str(site), "N")

    assert told(theirs) == told(10**6)


def test_a_wrong_value_names_its_field(alice_client: Client, network: Team) -> None:
    for body, field in [
        ({"name": ""}, "name"), ({"name": "x" * 121}, "name"), ({"name": "a", "status": "broken"}, "status"),
        ({"name": "a", "router_id": "1.2.3"}, "router_id"), ({}, "name"),
        ({"name": "a", "up": 1, "colour": 2}, "colour"),
        ({"name": "a\x00"}, "name"),
    ]:  # fmt: skip
        assert list(call(alice_client, "post", DEVICES, body, 400)) == [field]
    answer = alice_client.post(DEVICES, "{", "application/json")
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])
    assert alice_client.post(DEVICES, "<x/>", "text/xml").status_code == 415


def test_what_was_read_can_be_sent_back(alice_client: Client, network: Team) -> None:
    for row in alice_client.get(DEVICES).json()["results"]:
        assert call(alice_client, "put", row["url"], row)["name"] == row["name"]


def test_what_is_in_use_stays(alice_client: Client, network: Team) -> None:
    with team_scope(network.pk):
        berlin = Site.objects.get().pk
    said = call(alice_client, "delete", f"{SITES}{berlin}/", status=409)
    assert said == {"detail": "It is in use by device R1, device R2."}
    assert "in use" in str(call(alice_client, "delete", SITES, [{"id": berlin}], 409))
    assert call(alice_client, "get", f"{SITES}{berlin}/")["name"] == "Berlin"


# ETags


def test_a_change_of_what_somebody_else_changed_is_refused(alice_client: Client, network: Team) -> None:
    with team_scope(network.pk):
        url = f"{DEVICES}{Device.objects.get(name='R1').pk}/"
    tag = alice_client.get(url)["ETag"]
    assert alice_client.get(f"{url}?fields=id")["ETag"] == tag
    assert alice_client.get(url, headers={"If-None-Match": tag}).status_code == 304
    call(alice_client, "patch", url, {"serial": "1"}, If_Match=tag)
    for method, body in (("patch", {"serial": "2"}), ("put", {"name": "R1"}), ("delete", None)):
        assert "Somebody changed this" in call(alice_client, method, url, body, 412, If_Match=tag)["detail"]
    assert alice_client.get(url, headers={"If-None-Match": tag}).status_code == 200
    now = alice_client.get(url)
    assert now.json()["serial"] == "1"
    call(alice_client, "patch", url, {"serial": "3"}, If_Match=f'"other", {now["ETag"]}')
    call(alice_client, "patch", url, {"serial": "4"}, If_Match="*")


def test_a_changed_site_changes_the_tag_of_its_devices(alice_client: Client, network: Team) -> None:
    with team_scope(network.pk):
        url, site = f"{DEVICES}{Device.objects.get(name='R1').pk}/", Site.objects.get().pk
    before = alice_client.get(url)["ETag"]
    call(alice_client, "patch", f"{SITES}{site}/", {"name": "Bern"})
    assert alice_client.get(url)["ETag"] != before


# Rates, methods


@pytest.mark.parametrize("who", ["token", "session"])
def test_too_many_requests_are_told_when_to_go_on(
    who: str, alice: User, alice_client: Client, team: Team, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.API_RATE = 3
    monkeypatch.setattr("core.rate.time.time", lambda: 6_000_000_012.0)
    token = Client(headers={"Authorization": f"Token {token_create(team=team, role='viewer')}"})
    client = token if who == "token" else alice_client
    assert [client.get(SITES).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert client.get(SITES)["Retry-After"] == "48"
    other = Client(headers={"Authorization": f"Token {token_create(team=team, role='viewer')}"})
    assert other.get(SITES).status_code == 200
    monkeypatch.setattr("core.rate.time.time", lambda: 6_000_000_060.0)
    assert client.get(SITES).status_code == 200


def test_what_cannot_be_written_says_what_can_be_done(alice_client: Client, network: Team) -> None:
    answer = alice_client.post("/api/inventory/prefixes/", {}, "application/json")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert alice_client.head(DEVICES).status_code == 200
    nowhere = alice_client.get("/api/inventory/nothing/")
    assert (nowhere.status_code, nowhere.json()) == (404, {"detail": "There is nothing at this address."})


def test_a_viewer_reads_and_is_told_why_not_more(bob_client: Client, network: Team) -> None:
    assert names(bob_client, "limit=1") == ["R1"]
    said = call(bob_client, "post", SITES, {"name": "x"}, 403)
    assert said == {"detail": "This needs 'change', which the role viewer has not: ask an admin of the team."}


def test_the_truth_of_a_filter() -> None:
    assert [filters.truth(text) for text in ("true", "TRUE", "1", "false", "0")] == [True, True, True, False, False]
    with pytest.raises(ValueError, match="true or false"):
        filters.truth("yes")


@pytest.mark.parametrize("make", [lambda: {"fields": "a"}, lambda: {"omit": "url,zz"}])
def test_unknown_fields_are_listed_with_the_known(make: Callable[[], dict[str, str]], alice_client: Client) -> None:
    ((parameter, value),) = make().items()
    assert "use some of id, url, display, name" in refused(alice_client, f"{SITES}?{parameter}={value}")[parameter][0]
