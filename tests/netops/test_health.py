"""`/health/`: open to everyone, 200 only while every role was seen lately, else 503 naming what is not."""

from collections.abc import Iterator

import pytest
import redis
from django.test import Client

from core import roles


@pytest.fixture(autouse=True)
def quiet(valkey: str, settings: object) -> Iterator[None]:
    """No role has been seen."""
    store = redis.Redis.from_url(valkey)
    store.delete(*[*store.scan_iter("netops:role:*"), "none"])
    roles._valkey.cache_clear()
    yield
    roles._valkey.cache_clear()


def ask(client: Client) -> tuple[int, list[str]]:
    answer = client.get("/health/")
    return answer.status_code, answer.json()["down"]


def test_every_role_that_is_missing_is_named(client: Client, db: None) -> None:
    assert ask(client) == (503, ["web", "gateway", "worker", "beat", "listener"])
    for role in ("web", "gateway", "beat"):
        roles.beat_heart(role)
    assert ask(client) == (503, ["worker", "listener"])


def test_all_of_them_make_it_200(client: Client, db: None) -> None:
    for role in roles.EXPECTED:
        roles.beat_heart(role)
    assert ask(client) == (200, [])


def test_a_heartbeat_ends_by_itself(valkey: str) -> None:
    roles.beat_heart("web")
    store = redis.Redis.from_url(valkey)
    assert [0 < store.ttl(key) <= roles.LIFETIME_S for key in store.scan_iter("netops:role:web:*")] == [True]


def test_valkey_away_is_named_and_not_an_error(client: Client, db: None, settings: object) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"  # type: ignore[attr-defined]
    assert ask(client) == (503, ["valkey"])
    roles.beat_heart("web")
