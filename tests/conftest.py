"""People and teams of every test: alice owns, bob is her team mate, charlie is an outsider with a team of his own."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pluggy
import psycopg
import pytest
from django.conf import settings
from django.db import connections
from django.test import Client, TransactionTestCase

from core.scope import team_scope
from netops import home
from tenancy.models import Team, User
from tenancy.services import member_set, team_create
from tests.embedded import django_db_setup, valkey  # noqa: F401  (fixtures: a conftest outranks pytest-django)
from tests.installation import Installation

# tests/embedded.py clears the environment of everything else that starts with NETOPS_.
FORBID_SKIPS = bool(os.environ.get("NETOPS_FORBID_SKIPS"))
ALLOWED_SKIPS = {
    line.partition(" # ")[0].strip() for line in Path(__file__).with_name("allowed_skips.txt").read_text().splitlines()
}

# `make test-long`: Hypothesis looks ten times as hard where a test does not say itself how hard.
if os.environ.get("NETOPS_LONG"):
    hypothesis.settings.register_profile("long", max_examples=1000, deadline=None)
    hypothesis.settings.load_profile("long")


def pytest_configure() -> None:
    """Each test client makes the middleware anew, and WhiteNoise would list all static files each time: 50 ms."""
    settings.WHITENOISE_AUTOREFRESH = True


def _truncate(self: TransactionTestCase) -> None:
    """`app` may not TRUNCATE, which row-level security does not see: transactional tests are cleaned by `owner`.

    A thread of a test that ended without closing its connection took it from the pool for ever: the next test has
    a pool of its own.
    """
    wrapper: Any = connections["default"]
    wrapper.close()
    wrapper.close_pool()
    with psycopg.connect(home.database_url("owner")) as owner:
        tables = owner.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission')"
        ).fetchone()
        assert tables
        owner.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE")


TransactionTestCase._fixture_teardown = _truncate  # type: ignore[attr-defined]


@pytest.fixture
def team(db: None) -> Team:
    return team_create(slug="red", name="Red team")


@pytest.fixture
def other_team(db: None) -> Team:
    return team_create(slug="blue", name="Blue team")


def _member(name: str, team: Team, role: str) -> User:
    user = User.objects.create_user(name, f"{name}@example.org", "correct horse battery")
    member_set(team=team, user=user, role=role)
    return user


@pytest.fixture
def alice(team: Team) -> User:
    return _member("alice", team, "owner")


@pytest.fixture
def bob(team: Team) -> User:
    return _member("bob", team, "viewer")


@pytest.fixture
def charlie(other_team: Team) -> User:
    return _member("charlie", other_team, "owner")


@pytest.fixture
def scope(team: Team) -> Iterator[Team]:
    """The red team, in scope for the whole test."""
    with team_scope(team.pk):
        yield team


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice_client(alice: User) -> Client:
    return signed_in(alice)


@pytest.fixture
def bob_client(bob: User) -> Client:
    return signed_in(bob)


@pytest.fixture
def charlie_client(charlie: User) -> Client:
    return signed_in(charlie)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """With NETOPS_FORBID_SKIPS a skip that allowed_skips.txt does not list is a failure; a failure shows the logs."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Installation):
                report.sections.append(("what netops printed last", "\n".join(value.lines[-80:])))
                break
    if report.skipped and FORBID_SKIPS and item.nodeid not in ALLOWED_SKIPS and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
