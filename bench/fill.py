"""An installation's database with many teams, devices and interfaces, for benchmarks of what reads them."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.embedded import free_port_base, temporary_folder

ROLES = ("core", "edge", "access", "dist", "agg", "fw", "lb", "oob")
PLACES = (
    "ams",
    "ber",
    "cdg",
    "dub",
    "fra",
    "gva",
    "hel",
    "lhr",
    "mad",
    "mil",
    "osl",
    "par",
    "prg",
    "sto",
    "vie",
    "zrh",
)
PER_DEVICE = 10

# A team's first device is core-ams-1, the next edge-ams-2; `n` runs over all teams. Team 1 owns half of them.
# Each place has a /16 for its interfaces, as address plans have.
ROWS = """
CREATE TEMPORARY TABLE made AS
    SELECT n, CASE WHEN n <= {devices} / 2 THEN 1 ELSE 2 + n % ({teams} - 1) END AS team,
        ('{{{roles}}}'::text[])[1 + n % {n_roles}] AS role,
        ('{{{places}}}'::text[])[1 + n / {n_roles} % {n_places}] AS place
    FROM generate_series(1, {devices}) n;
INSERT INTO tenancy_team (id, slug, name) OVERRIDING SYSTEM VALUE
    SELECT n, 'team-' || n, 'Team ' || n FROM generate_series(1, {teams}) n;
INSERT INTO inventory_site (team_id, name, sort_key, slug) SELECT DISTINCT team, place, place, place FROM made;
INSERT INTO inventory_devicerole (team_id, name, sort_key, slug) SELECT DISTINCT team, role, role, role FROM made;
INSERT INTO inventory_manufacturer (id, team_id, name, sort_key, slug) OVERRIDING SYSTEM VALUE
    SELECT n, n, 'Acme', 'acme', 'acme' FROM generate_series(1, {teams}) n;
INSERT INTO inventory_devicetype (team_id, manufacturer_id, name, sort_key, slug)
    SELECT n, n, 'A9000', 'a0000009000', 'a9000' FROM generate_series(1, {teams}) n;
INSERT INTO inventory_device (id, team_id, name, sort_key, status, site_id, role_id, device_type_id, serial, key,
        igp_router_id, router_id, up, session, first_seen, changed) OVERRIDING SYSTEM VALUE
    SELECT n, m.team, m.role || '-' || place || '-' || n, m.role || '-' || place || '-' || lpad(n::text, 10, '0'),
        CASE WHEN n % 10 = 0 THEN 'planned' ELSE 'active' END, s.id, r.id, t.id, 'SN' || md5(n::text)::varchar(10), '',
        '', '10.0.0.0'::inet + n, n % 50 <> 0, 0, now(), now()
    FROM made m JOIN inventory_site s ON s.team_id = m.team AND s.name = place
        JOIN inventory_devicerole r ON r.team_id = m.team AND r.name = m.role
        JOIN inventory_devicetype t ON t.team_id = m.team ORDER BY n;
INSERT INTO inventory_interface (team_id, device_id, name, address, learned)
    SELECT team, n, 'xe-0/' || port / 4 || '/' || port % 4, '10.0.0.0'::inet + ((16 + n / {n_roles} % {n_places}) << 16)
        + (n / {n_roles} / {n_places} * {n_roles} + n % {n_roles}) * {ports} + port, false
    FROM made, generate_series(0, {ports} - 1) port ORDER BY n, port;
"""

MORE = """
INSERT INTO inventory_device (team_id, name, sort_key, status, site_id, role_id, device_type_id, serial, key,
        igp_router_id, router_id, up, session, first_seen, changed)
    SELECT team_id, name || '-b', sort_key || '-b', status, site_id, role_id, device_type_id, serial, key,
        igp_router_id, router_id, up, session, first_seen, changed
    FROM inventory_device WHERE team_id = 1 ORDER BY id LIMIT {devices};
"""


@dataclass(frozen=True)
class Size:
    teams: int = 100
    devices: int = 100_000


@contextmanager
def filled(size: Size, **environment: str) -> Iterator[Path]:
    """As `installed`, with rows that are complete and vacuumed."""
    with installed(**environment) as data:
        _fill(size)
        yield data


@contextmanager
def installed(**environment: str) -> Iterator[Path]:
    """The folder of an installation of its own, with Django set up on it; gone afterwards.

    PostgreSQL is as `manage.py runall` starts it.
    """
    data = temporary_folder()
    for name in [name for name in os.environ if name.startswith("NETOPS_")]:
        del os.environ[name]
    os.environ |= {"NETOPS_DATA": str(data), "NETOPS_PORT": str(free_port_base()), **environment}
    os.environ["DJANGO_SETTINGS_MODULE"] = "netops.settings"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _start(processes)
        yield data
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def _start(processes: list[subprocess.Popen[bytes]]) -> None:
    import django
    from django.core.management import call_command

    from netops import embedded, home

    postgres = embedded.Postgres(home.data(), home.port("postgres"))
    postgres.prepare(home.secret("database_superuser"))
    command = [*postgres.command(), "-c", "fsync=off"]
    processes.append(subprocess.Popen(command, **postgres.popen_options()))  # type: ignore[call-overload]
    processes.append(subprocess.Popen(embedded.valkey_command(home.folder("run"))))
    postgres.wait_ready()
    django.setup()
    call_command("setup", verbosity=0)


def _fill(size: Size) -> None:
    sql = ROWS.format(
        devices=size.devices, teams=size.teams, roles=",".join(ROLES), places=",".join(PLACES), n_roles=len(ROLES),
        n_places=len(PLACES), ports=PER_DEVICE,
    )  # fmt: skip
    _run(sql)


def grow(devices: int) -> None:
    """So many devices more for team 1: copies of those it has."""
    _run(MORE.format(devices=devices))


def _run(sql: str) -> None:
    """As the superuser and as a replica would: no trail, no checks of what is right by construction."""
    import psycopg

    from netops import embedded, home

    postgres = embedded.Postgres(home.data(), home.port("postgres"))
    address = postgres.url("postgres", home.secret("database_superuser"), "netops")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '256MB'")
        connection.execute(sql)
        connection.execute(
            "SELECT setval(pg_get_serial_sequence('inventory_device', 'id'), max(id)) FROM inventory_device"
        )
        connection.execute("VACUUM ANALYZE")
