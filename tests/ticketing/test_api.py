"""REST of incidents, tickets and desks, and its walls."""

from typing import Any

import pytest
from django.test import Client

from core.scope import team_scope
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.ticketing.conftest import clear, deliver, mail_settings, report
from tests.ticketing.smtp import Mailbox
from ticketing.models import Desk, Incident, Ticket
from ticketing.services import desk_create

SECRET = "hunter2-correct"
LISTS = ("incidents", "tickets", "desks")


def url(rest: str) -> str:
    return f"/api/ticketing/{rest}"


@pytest.fixture
def told(team: Team, mailbox: Mailbox) -> Incident:
    """An incident of the red team, refused by its desk, and one that was resolved."""
    with team_scope(team.pk):
        given = mail_settings(mailbox.port, username="u", password=SECRET)
        mailbox.data.append("554 no")
        plain = {**given, "security": "none", "username": ""}
        secrets = {"password": plain.pop("password")}
        Desk.objects.create(name="mail", driver="email", settings=plain, secrets=secrets)  # type: ignore[misc]
        desk_create(name="spare", driver="email", settings=given, enabled=False)
        report(element="link:9", title="Link R5 – R6 is down")
        clear(element="link:9")
        incident = report()
    mailbox.data.clear()
    mailbox.data.append("554 no")
    deliver(team)
    return incident


def test_incidents_are_listed_newest_first_and_can_be_narrowed(told: Incident, alice_client: Client) -> None:
    answer = alice_client.get(url("incidents/")).json()
    assert (answer["count"], answer["next"], answer["previous"]) == (2, None, None)
    newest = answer["results"][0]
    assert (newest["title"], newest["state"]["value"], newest["severity"]["label"]) == (
        "Link R2 – R4 is down",
        "open",
        "Critical",
    )
    assert list(newest["causes"]) == ["probing:1"]
    for query, count in [("state=open", 1), ("q=R5", 1), ("element=link:1", 1), ("kind=node", 0), ("limit=1", 2)]:
        assert alice_client.get(url(f"incidents/?{query}")).json()["count"] == count
    for query in ("state=open&colour=blue", "limit=-1", "ordering=causes", "limit=x"):
        assert alice_client.get(url(f"incidents/?{query}")).status_code == 400


def test_an_incident_shows_evidence_timeline_and_tickets(told: Incident, alice_client: Client) -> None:
    answer = alice_client.get(url(f"incidents/{told.pk}/")).json()
    assert answer["evidence"]["probing:1"]["direction"] == "R2 → R4"
    events = alice_client.get(url(f"incident-events/?incident_id={told.pk}")).json()["results"]
    assert [event["text"] for event in events] == ["Opened: 4 of 8 paths are down"]
    tickets = alice_client.get(url(f"tickets/?incident_id={told.pk}")).json()["results"]
    assert [ticket["state"] for ticket in tickets] == ["open"]
    for missing in (99999, 2**70):
        assert alice_client.get(url(f"incidents/{missing}/")).status_code == 404


def test_tickets_say_what_waits_and_what_the_desk_said(told: Incident, alice_client: Client) -> None:
    refused, fine = alice_client.get(url("tickets/?ordering=id")).json()["results"]
    assert (refused["state"], refused["refused"], refused["waiting"]) == ("dead", 2, 0)
    assert "554 no" in refused["error"]
    assert (fine["state"], fine["refused"], fine["error"], fine["desk"]["name"]) == ("open", 0, None, "mail")
    assert alice_client.get(url(f"tickets/?incident={told.pk}")).json()["count"] == 1
    assert alice_client.get(url("tickets/?desk_id=x")).status_code == 400


def test_a_refused_ticket_is_retried_by_those_who_manage_tickets(
    told: Incident, team: Team, mailbox: Mailbox, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    with team_scope(team.pk):
        ticket = Ticket.objects.get(state="dead")
    assert bob_client.post(url(f"tickets/{ticket.pk}/retry/")).status_code == 403
    assert charlie_client.post(url(f"tickets/{ticket.pk}/retry/")).status_code == 404
    assert alice_client.get(url(f"tickets/{ticket.pk}/retry/")).status_code == 405
    assert alice_client.post(url(f"tickets/{ticket.pk}/retry/")).json() == {"queued": 2}
    deliver(team)
    assert len(mailbox.mails) == 3


def test_no_answer_shows_a_password(told: Incident, alice_client: Client, bob_client: Client) -> None:
    for client in (alice_client, bob_client):
        answer = client.get(url("desks/"))
        assert [desk["name"] for desk in answer.json()["results"]] == ["mail", "spare"]
        assert SECRET not in answer.content.decode()
        assert "password" not in answer.json()["results"][1]["settings"]


def post(client: Client, body: Any) -> Any:
    return client.post(url("desks/"), body, content_type="application/json")


def test_a_desk_is_made_by_those_who_may_change(
    team: Team, mailbox: Mailbox, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    given = {"name": "mail", "driver": "email", "settings": mail_settings(mailbox.port, username="u", password=SECRET)}
    assert post(bob_client, given).status_code == 403
    made = post(alice_client, given)
    assert made.status_code == 201
    assert SECRET not in made.content.decode()
    assert made.json()["settings"]["host"] == "127.0.0.1"
    assert post(alice_client, given).status_code == 400
    # A name of another team is free, and nobody learns that it exists there.
    assert post(charlie_client, given).status_code == 201
    with team_scope(team.pk):
        assert Desk.objects.get().secrets == {"password": SECRET}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ([], "detail"),
        ({"name": "x" * 61, "driver": "email"}, "name"),
        ({"name": ["x"], "driver": "email"}, "name"),
        ({"name": "x", "driver": "email", "settings": "host"}, "settings"),
        ({"name": "x", "driver": "email", "enabled": "perhaps"}, "enabled"),
        ({"name": "x", "driver": "email", "team": 1}, "team"),
        ({"name": "x", "driver": "../email"}, "driver"),
        ({"name": "\x00", "driver": "email"}, "name"),
        ({"name": "x", "driver": "email", "settings": {"host": "169.254.169.254"}}, "host"),
    ],
)
def test_a_bad_desk_is_400_and_names_the_field(body: Any, field: str, mailbox: Mailbox, alice_client: Client) -> None:
    if isinstance(body, dict) and body and not isinstance(body.get("settings"), str):
        body = {**body, "settings": {**mail_settings(mailbox.port), **body.get("settings", {})}}
    answer = post(alice_client, body)
    assert answer.status_code == 400
    assert field in answer.json() or isinstance(answer.json(), list), answer.json()


@pytest.mark.parametrize("name", LISTS)
def test_an_outsider_sees_nothing(name: str, told: Incident, charlie_client: Client) -> None:
    assert charlie_client.get(url(f"{name}/")).json()["count"] == 0
    assert charlie_client.get(url(f"incidents/{told.pk}/")).status_code == 404


@pytest.mark.parametrize("name", LISTS)
def test_nobody_gets_in_without_a_token(name: str, told: Incident, team: Team, client: Client) -> None:
    assert client.get(url(f"{name}/")).status_code == 401
    token = token_create(team=team, role="viewer")
    headers = {"Authorization": f"Token {token}"}
    assert client.get(url(f"{name}/"), headers=headers).json()["count"] > 0
    assert client.post(url("desks/"), {}, content_type="application/json", headers=headers).status_code == 403


def test_a_query_with_nul_is_refused(told: Incident, alice: User, alice_client: Client) -> None:
    for query in ("q=%00", "state=%00", "element=a%00b"):
        assert alice_client.get(url(f"incidents/?{query}")).status_code == 400
