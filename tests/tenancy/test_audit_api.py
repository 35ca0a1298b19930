"""GET /api/tenancy/audit/."""

import pytest
from django.test import Client

from core.scope import acting, team_scope
from inventory.models import Site
from tenancy.models import Team, User
from tenancy.services import token_create

PATH = "/api/tenancy/audit/"


@pytest.fixture
def sites(team: Team, alice: User) -> None:
    with acting(door="page", user=alice.pk, name="alice"), team_scope(team.pk):
        for number in range(7):
            Site.objects.create(name=f"site {number}", slug=f"s{number}", sort_key="s")


def test_who_may_read_it(client: Client, alice: User, bob_client: Client, charlie_client: Client, team: Team) -> None:
    assert client.get(PATH).status_code == 401
    assert bob_client.get(PATH).status_code == 403
    assert charlie_client.get(PATH, headers={"X-Team": "red"}).status_code == 400
    for role, status in (("viewer", 403), ("operator", 403), ("admin", 200)):
        token = token_create(team=team, role=role, user=alice, name=role)
        assert client.get(PATH, headers={"Authorization": f"Bearer {token}"}).status_code == status


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_read_only(method: str, alice_client: Client) -> None:
    answer = getattr(alice_client, method)(PATH, {}, content_type="application/json")
    assert answer.status_code in (403, 405)


@pytest.mark.usefixtures("sites")
def test_pages_follow_next(alice_client: Client) -> None:
    path, seen = f"{PATH}?model=inventory.site&limit=3", []
    while path:
        answer = alice_client.get(path).json()
        assert answer["count"] is None
        seen += [each["title"] for each in answer["results"]]
        path = answer["next"]
    assert seen == [f"site {number}" for number in reversed(range(7))]
    assert len(alice_client.get(f"{PATH}?limit=0").json()["results"]) >= 7


@pytest.mark.usefixtures("sites")
def test_what_an_entry_says(alice_client: Client, alice: User) -> None:
    (entry,) = alice_client.get(f"{PATH}?q=site%203").json()["results"]
    assert (entry["who"], entry["user"], entry["door"], entry["action"]) == ("alice", alice.pk, "page", "insert")
    assert {"field": "name", "before": None, "after": "site 3"} in entry["changes"]


@pytest.mark.parametrize(
    ("query", "name"),
    [("door=window", "door"), ("start=x", "start"), ("limit=x", "limit"), ("nonsense=1", "nonsense"), ("q=%00", "q")],
)
def test_what_cannot_be_used_is_named(query: str, name: str, alice_client: Client) -> None:
    answer = alice_client.get(f"{PATH}?{query}")
    assert answer.status_code == 400
    assert set(answer.json()) == {name}
