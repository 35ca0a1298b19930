"""manage.py rotate_secrets: everything under the newest key, whatever happens on the way."""

import io
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from core.scope import team_scope
from core.secrets import SecretsLocked, cipher, under_newest_key
from inventory.models import TopologySource
from netops import home, rotation
from tenancy.models import Team, User
from tenancy.trail import Wanted, entries
from ticketing.models import Desk

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])
COLUMNS = {
    ("consoles_consolefar", "secret"),
    ("consoles_consoleoutlet", "headers"),
    ("inventory_topologysource", "password"),
    ("mfa_authenticator", "data"),
    ("ticketing_desk", "secrets"),
}


@pytest.fixture(autouse=True)
def keys() -> Iterator[list[str]]:
    """The keys of before come back after the test."""
    before = home.secrets_keys()
    yield before
    home.secrets_keys_write(before)


def _desk(name: str, password: str) -> Desk:
    secrets: Any = {"password": password}
    return Desk(name=name, driver="email", secrets=secrets)


@pytest.fixture
def teams(team: Team, other_team: Team, alice: User) -> list[Team]:
    from allauth.mfa.models import Authenticator

    for each in (team, other_team):
        with team_scope(each.pk):
            _desk("noc", f"desk of {each.slug}").save()
            TopologySource.objects.create(name="r", host="192.0.2.1", password=f"bgp of {each.slug}")
            TopologySource.objects.create(name="open", host="192.0.2.2")
    Authenticator.objects.create(
        user=alice, type="totp", data={"secret": cipher().encrypt(b"totp of alice").decode(), "plain": "gone"}
    )
    return [team, other_team]


def stored() -> list[str]:
    with psycopg.connect(home.database_url("owner")) as owner:
        desks = owner.execute("SELECT secrets FROM ticketing_desk").fetchall()
        sources = owner.execute("SELECT password FROM inventory_topologysource WHERE password <> ''").fetchall()
        factors = owner.execute("SELECT data->>'secret' FROM mfa_authenticator").fetchall()
    return [row[0] for row in (*desks, *sources, *factors)]


def check_readable(teams: list[Team]) -> None:
    from allauth.mfa.models import Authenticator

    for each in teams:
        with team_scope(each.pk):
            assert Desk.objects.get().secrets == {"password": f"desk of {each.slug}"}
            assert TopologySource.objects.get(name="r").password == f"bgp of {each.slug}"
            assert not TopologySource.objects.get(name="open").password
    factor = Authenticator.objects.get()
    assert cipher().decrypt(factor.data["secret"]) == b"totp of alice"
    assert factor.data["plain"] == "gone"


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rotate_secrets", *arguments, stdout=out)
    return out.getvalue()


def test_every_place_of_a_secret_is_known() -> None:
    assert {(place.table, place.column) for place in rotation.places()} == COLUMNS


def test_a_new_key_takes_over_and_the_old_one_is_dropped(teams: list[Team], keys: list[str]) -> None:
    before = stored()
    assert len(before) == 5
    told = run("--new-key")
    assert "5 re-encrypted" in told
    assert not set(stored()) & set(before)
    assert all(under_newest_key(token) for token in stored())
    assert len(home.secrets_keys()) == 1
    assert not set(home.secrets_keys()) & set(keys)
    check_readable(teams)
    assert json.loads((home.data() / "secrets.json").read_text())["secret_key"]
    assert (home.data() / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert "0 re-encrypted" in run()


def test_it_leaves_no_trail_and_no_secret_in_what_it_says(teams: list[Team]) -> None:
    counts = []
    for _ in range(2):
        with team_scope(teams[0].pk):
            counts.append(len(entries(Wanted(), limit=1000)))
        told = run("--new-key")
        assert " of red" not in told
        assert home.secrets_keys()[0] not in told
    assert counts[0] == counts[1]


def test_killed_on_the_way_it_is_repeated(teams: list[Team], monkeypatch: pytest.MonkeyPatch) -> None:
    through = rotation._through

    def killed(place: rotation.Place, outcome: rotation.Outcome, tell: object) -> None:
        if place.table == "ticketing_desk":
            raise KeyboardInterrupt
        through(place, outcome, lambda: None)

    monkeypatch.setattr(rotation, "_through", killed)
    with pytest.raises(KeyboardInterrupt):
        run("--new-key")
    check_readable(teams)
    assert len(home.secrets_keys()) == 2
    monkeypatch.setattr(rotation, "_through", through)
    assert "dropped" in run()
    assert len(home.secrets_keys()) == 1
    check_readable(teams)


def test_many_rows_go_in_batches(teams: list[Team], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    with team_scope(teams[0].pk):
        Desk.objects.bulk_create(_desk(f"d{i}", f"p{i}") for i in range(7))
    run("--new-key")
    with team_scope(teams[0].pk):
        assert {desk.secrets["password"] for desk in Desk.objects.exclude(name="noc")} == {f"p{i}" for i in range(7)}
    assert all(under_newest_key(token) for token in stored())


def test_what_no_key_opens_is_named_and_no_key_is_dropped(teams: list[Team], keys: list[str]) -> None:
    home.secrets_keys_write(["another"])
    with team_scope(teams[0].pk):
        _desk("new", "x").save()
        pk = Desk.objects.filter(name="noc").values_list("pk", flat=True)[0]
        with pytest.raises(SecretsLocked, match="NETOPS_SECRETS_KEY") as raised:
            Desk.objects.get(pk=pk)
    assert "gAAAA" not in str(raised.value)
    with pytest.raises(CommandError, match=rf"ticketing_desk {pk}.*No key was dropped"):
        run("--new-key")
    assert "another" in home.secrets_keys()
    home.secrets_keys_write([*home.secrets_keys(), *keys])
    run()
    check_readable(teams[1:])


def test_a_key_of_the_environment_is_the_operators(
    teams: list[Team], keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETOPS_SECRETS_KEY", f"fresh,{keys[0]}")
    home.secret.cache_clear()
    try:
        with pytest.raises(CommandError, match="NETOPS_SECRETS_KEY"):
            run("--new-key")
        told = run()
        assert "5 re-encrypted" in told
        assert "1 old keys may now leave NETOPS_SECRETS_KEY" in told
        monkeypatch.setenv("NETOPS_SECRETS_KEY", "fresh")
        home.secret.cache_clear()
        check_readable(teams)
        assert "put it in front" in run()
    finally:
        monkeypatch.delenv("NETOPS_SECRETS_KEY")
        home.secret.cache_clear()


def test_a_running_process_takes_up_a_new_key_at_once(keys: list[str]) -> None:
    home.secrets_keys_write(["one"])
    assert home.secrets_keys() == ["one"]
    token = cipher().encrypt(b"x").decode()
    home.secrets_keys_write(["two", "one"])
    assert home.secrets_keys() == ["two", "one"]
    assert cipher().decrypt(token) == b"x"
    assert not under_newest_key(token)
