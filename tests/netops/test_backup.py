"""Backup and restore as docs/operations.md tells them, with the programs of the embedded PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from core.scope import team_scope
from inventory.models import TopologySource
from netops import embedded, home
from tenancy.services import team_create
from tests.rows import lab_rows

COUNTED = ("inventory_device", "inventory_halflink", "tenancy_team", "probing_path")


def address(role: str, database: str = "netops") -> str:
    return home.database_url(role).rpartition("/")[0] + f"/{database}"


def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = embedded.Postgres(home.data(), home.port("postgres")).bin / name
    return subprocess.run([str(found), *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture
def stocked(transactional_db: None) -> None:
    for slug in ("red", "blue"):
        with team_scope(team_create(slug=slug, name=slug).pk):
            lab_rows()
            TopologySource.objects.update(password="of a session")


@pytest.fixture
def empty(stocked: None) -> Iterator[str]:
    """A database `restored` of `owner`, as docker/roles.sh makes one."""
    superuser = psycopg.conninfo.make_conninfo(
        address("owner", "postgres"), user="postgres", password=home.secret("database_superuser")
    )
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored OWNER owner")
        yield "restored"
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("restored")))


def counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        rows = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in COUNTED}
    return {table: row[0] for table, row in rows.items() if row}


def test_owner_copies_everything_and_it_comes_back_with_its_walls(empty: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "netops.dump")
    done = program("pg_dump", "--format=custom", f"--file={copy}", address("owner"))
    assert done.returncode == 0, done.stderr
    done = program("pg_restore", "--exit-on-error", f"--dbname={address('owner', empty)}", copy)
    assert done.returncode == 0, done.stderr
    assert counts(address("owner", empty)) == counts(address("owner"))
    assert counts(address("owner"))["inventory_device"] == 12
    assert counts(address("app", empty)) == {**dict.fromkeys(COUNTED, 0), "tenancy_team": 2}
    with psycopg.connect(address("app", empty)) as connection:
        red = connection.execute("SELECT id FROM tenancy_team WHERE slug = 'red'").fetchone()
        assert red
        connection.execute("SELECT set_config('netops.team', %s, true)", [str(red[0])])
        assert connection.execute("SELECT count(*) FROM inventory_device").fetchone() == (6,)
        assert connection.execute("SELECT sum(value) FROM netops_totals() WHERE family = 'devices'").fetchone() == (12,)


def test_a_copy_by_app_fails_and_is_not_just_smaller(stocked: None, tmp_path: Path) -> None:
    done = program("pg_dump", "--format=custom", f"--file={tmp_path / 'netops.dump'}", address("app"))
    assert done.returncode != 0
    assert "permission denied" in done.stderr or "row-level security" in done.stderr


def test_secrets_are_not_readable_in_a_copy(stocked: None, tmp_path: Path) -> None:
    copy = tmp_path / "netops.sql"
    done = program("pg_dump", f"--file={copy}", address("owner"))
    assert done.returncode == 0, done.stderr
    text = copy.read_text()
    assert "reflector" in text
    assert "of a session" not in text
