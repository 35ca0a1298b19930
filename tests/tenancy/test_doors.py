"""Who gets through the middleware, with which answer."""

import re
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from core.scope import team_scope
from tenancy.models import ApiToken, Membership, Team, User
from tenancy.roles import can
from tenancy.services import member_set, token_create
from tests.conftest import signed_in

LIST = "/api/inventory/devices/"


def _status(client: Client, path: str, **headers: str) -> int:
    return client.get(path, headers=headers).status_code


def test_anonymous_is_refused_with_the_way_in(client: Client) -> None:
    answer = client.get(LIST)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"


def test_a_token_opens_its_own_team(client: Client, team: Team) -> None:
    assert _status(client, LIST, Authorization=f"Token {token_create(team=team, role='viewer')}") == 200


@pytest.mark.parametrize(
    "mangle", [lambda t: t[:-1] + "!", lambda t: t.replace(".", ""), lambda t: "0" * 12 + t[12:], str.upper]
)
def test_a_wrong_token_is_refused(client: Client, team: Team, mangle: object) -> None:
    token = token_create(team=team, role="viewer")
    assert _status(client, LIST, Authorization=f"Token {mangle(token)}") == 401  # type: ignore[operator]


def test_the_secret_is_not_stored(team: Team) -> None:
    from core.scope import team_scope
    from tenancy.models import ApiToken

    token = token_create(team=team, role="viewer")
    with team_scope(team.pk):
        stored = ApiToken.objects.values().get()
    assert token.partition(".")[2] not in str(stored)


def test_a_viewers_token_may_not_write(client: Client, team: Team) -> None:
    header = {"Authorization": f"Token {token_create(team=team, role='viewer')}"}
    answer = client.post("/api/inventory/endpoints/", {}, content_type="application/json", headers=header)
    assert answer.status_code == 403


def test_a_session_with_several_teams_names_one(alice: User, alice_client: Client, other_team: Team) -> None:
    assert _status(alice_client, LIST) == 200
    member_set(team=other_team, user=alice, role="viewer")
    assert _status(alice_client, LIST) == 400
    assert _status(alice_client, LIST, X_Team="red") == 200
    assert _status(alice_client, LIST, X_Team="green") == 400


def test_a_session_needs_csrf_to_write(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post("/api/inventory/endpoints/", {}, content_type="application/json").status_code == 403


def test_pages_of_a_foreign_team_do_not_exist(charlie: User, team: Team) -> None:
    foreign = signed_in(charlie).get("/t/red/")
    nowhere = signed_in(charlie).get("/t/none/")
    assert foreign.status_code == nowhere.status_code == 404

    def told(content: bytes) -> str:
        return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", content.decode())

    assert told(foreign.content).replace("/t/red/", "/t/none/") == told(nowhere.content)


def test_pages_send_the_anonymous_to_sign_in(client: Client, team: Team) -> None:
    answer = client.get("/t/red/")
    assert answer.status_code == 302
    assert answer["Location"].endswith("?next=/t/red/")


def test_roles_are_a_table_asked_by_name() -> None:
    assert can("viewer", "view")
    assert not can("viewer", "change")
    assert not can("operator", "change")
    assert can("operator", "ticket.manage")
    assert can("admin", "team.admin")
    assert not can("nobody", "view")
    with pytest.raises(ValueError, match="unknown capability"):
        can("owner", "viwe")


def test_the_token_command_names_the_teams_there_are(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="no team 'rde'; there are: red"):
        call_command("apitoken", "rde")
    call_command("apitoken", "red")
    assert len(capsys.readouterr().out.strip().split(".")) == 2


def test_a_token_is_never_more_than_its_maker(client: Client, team: Team, alice: User, bob: User) -> None:
    member_set(team=team, user=bob, role="owner")
    token = token_create(team=team, role="admin", user=alice, name="deploy")
    header = {"Authorization": f"Bearer {token}"}

    def makes() -> int:
        given = {"name": "e", "address": "192.0.2.9"}
        return client.post(
            "/api/inventory/endpoints/", given, content_type="application/json", headers=header
        ).status_code

    assert makes() == 201
    member_set(team=team, user=alice, role="viewer")
    assert makes() == 403
    assert _status(client, LIST, **header) == 200
    with team_scope(team.pk):
        Membership.objects.all().delete()
    assert _status(client, LIST, **header) == 401


def test_a_token_of_a_switched_off_account_is_dead(client: Client, team: Team, alice: User) -> None:
    token = token_create(team=team, role="viewer", user=alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert _status(client, LIST, Authorization=f"Token {token}") == 401


def test_nobody_makes_a_token_above_himself(team: Team, bob: User, charlie: User) -> None:
    with pytest.raises(ValidationError, match="you are viewer"):
        token_create(team=team, role="operator", user=bob)
    with pytest.raises(ValidationError, match="you are no member"):
        token_create(team=team, role="viewer", user=charlie)


def test_a_token_ends_at_its_time(client: Client, team: Team) -> None:
    token = token_create(team=team, role="viewer", expires=timezone.now() + timedelta(hours=1))
    assert _status(client, LIST, Authorization=f"Token {token}") == 200
    with team_scope(team.pk):
        ApiToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert _status(client, LIST, Authorization=f"Token {token}") == 401
    with pytest.raises(ValidationError, match="has passed"):
        token_create(team=team, role="viewer", expires=timezone.now())


@pytest.mark.parametrize(
    ("networks", "status"),
    [([], 200), (["127.0.0.0/8"], 200), (["192.0.2.0/24", "127.0.0.1"], 200), (["192.0.2.0/24"], 401), (["::/0"], 401)],
)
def test_a_token_is_used_from_its_networks_only(client: Client, team: Team, networks: list[str], status: int) -> None:
    token = token_create(team=team, role="viewer", networks=networks)
    assert _status(client, LIST, Authorization=f"Token {token}") == status


def test_the_proxys_word_counts_only_where_there_is_one(client: Client, team: Team, settings: Settings) -> None:
    token = token_create(team=team, role="viewer", networks=["192.0.2.0/24"])
    headers = {"Authorization": f"Token {token}", "X-Forwarded-For": "203.0.113.5, 192.0.2.7"}
    assert _status(client, LIST, **headers) == 401
    settings.BEHIND_PROXY = True
    assert _status(client, LIST, **headers) == 200
    headers["X-Forwarded-For"] = "192.0.2.7, 203.0.113.5"
    assert _status(client, LIST, **headers) == 401


def test_a_wrong_network_is_named(team: Team) -> None:
    with pytest.raises(ValidationError, match="'x/8' is no network"):
        token_create(team=team, role="viewer", networks=["x/8"])


def test_when_a_token_was_used_is_kept_to_the_minute(client: Client, team: Team) -> None:
    token = token_create(team=team, role="viewer")
    for _ in range(2):
        assert _status(client, LIST, Authorization=f"Token {token}") == 200
        with team_scope(team.pk):
            used = ApiToken.objects.get().last_used
            assert used
            assert abs(timezone.now() - used) < timedelta(minutes=1)
            ApiToken.objects.update(last_used=used - timedelta(minutes=2))


def test_a_token_names_its_own_team_or_none(client: Client, team: Team, other_team: Team) -> None:
    token = token_create(team=team, role="viewer")
    assert _status(client, LIST, Authorization=f"Token {token}", X_Team="red") == 200
    assert _status(client, LIST, Authorization=f"Token {token}", X_Team="blue") == 400
