"""Counts are exact; only a large one may be a moment old, and never another team's. Deep pages are the same pages."""

from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.redis import RedisCache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import count, listing
from core.count import counted, counted_to, page_of
from core.scope import team_scope
from inventory.models import Device, sorted_name
from tenancy.models import Team


def _devices(*names: str) -> None:
    Device.objects.bulk_create(Device(**sorted_name(name), changed=timezone.now()) for name in names)


@pytest.fixture
def teams(team: Team, other_team: Team) -> tuple[Team, Team]:
    for each, names in ((team, [f"R{n}" for n in range(30)]), (other_team, ["B1", "B2"])):
        with team_scope(each.pk):
            _devices(*names)
    return team, other_team


def test_a_count_is_exact_at_once(teams: tuple[Team, Team]) -> None:
    for number, each in zip((30, 2), teams, strict=True):
        with team_scope(each.pk):
            assert counted(Device.objects.all()) == number
            _devices("new")
            assert counted(Device.objects.all()) == number + 1
            assert counted(Device.objects.filter(name="new")) == 1
            assert counted(Device.objects.filter(pk__in=[])) == 0


def test_a_large_count_is_kept_for_its_team_and_its_query(
    teams: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count, "LARGE", 10)
    cache.clear()
    with team_scope(teams[0].pk):
        assert counted(Device.objects.all()) == 30
        _devices("new")
        with CaptureQueriesContext(connection) as queries:
            assert counted(Device.objects.order_by("name")) == 30
        assert len(queries) == 0
        assert counted(Device.objects.filter(name__startswith="R")) == 30
        assert counted(Device.objects.filter(name__startswith="R2")) == 11
    with team_scope(teams[1].pk):
        assert counted(Device.objects.all()) == 2
    with team_scope(teams[0].pk):
        cache.clear()
        assert counted(Device.objects.all()) == 31


def test_without_valkey_everything_is_counted(teams: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "LARGE", 10)
    monkeypatch.setattr(count, "cache", RedisCache("unix:///nowhere/valkey.sock", {}))
    with team_scope(teams[0].pk):
        for number in (30, 31):
            assert counted(Device.objects.all()) == number
            _devices(f"new-{number}")


@pytest.mark.parametrize("deep", [0, 5, 10_000])
def test_a_deep_page_is_the_same_page(teams: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch, deep: int) -> None:
    monkeypatch.setattr(count, "DEEP", deep)

    def names(ordered: Any, offset: int) -> list[str]:
        return [name for (name,) in page_of(ordered, offset, 7).values_list("name")]

    with team_scope(teams[0].pk):
        for offset in (0, 5, 28, 30, 90):
            wanted = [f"R{n}" for n in range(30)][offset : offset + 7]
            assert names(Device.objects.order_by("sort_key", "pk"), offset) == wanted
            assert names(Device.objects.distinct().order_by("sort_key", "pk"), offset) == wanted
            backwards = [f"R{n}" for n in reversed(range(30))][offset : offset + 7]
            assert names(Device.objects.order_by("-sort_key", "-pk"), offset) == backwards


def test_what_was_searched_is_counted_so_far_and_said_so(
    teams: tuple[Team, Team], alice_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with team_scope(teams[0].pk):
        assert [counted_to(Device.objects.order_by("name"), most) for most in (29, 30, 31)] == [30, 30, 30]
    monkeypatch.setattr(listing, "MOST_FOUND", 20)
    searched, more = (alice_client.get(f"/t/red/devices/?q={q}").content.decode() for q in ("R1", "R"))
    assert "of 11</p>" in searched
    assert "of more than 20</p>" in more
    assert "of 30</p>" in alice_client.get("/t/red/devices/").content.decode()
