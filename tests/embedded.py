"""Pytest plugin: a real PostgreSQL and Valkey of this test process alone, under a folder of its own."""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest


def free_port_base() -> int:
    """A port with the nine above it free on loopback, below those that the kernel gives to whoever connects."""
    while True:
        base = random.randrange(12000, 32000)
        probes = [socket.socket() for _ in range(10)]
        try:
            for offset, each in enumerate(probes):
                each.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for each in probes:
                each.close()
        return base


def temporary_folder() -> Path:
    """A short folder that PostgreSQL's unprivileged user can pass through."""
    path = Path(tempfile.mkdtemp(prefix="netops-", dir="/tmp"))
    path.chmod(0o711)
    return path


DATA = temporary_folder()
for name in set(os.environ) - {"NETOPS_FORBID_SKIPS", "NETOPS_LONG", "NETOPS_WRITE_BASELINE"}:
    if not name.startswith("NETOPS_"):
        continue
    del os.environ[name]
os.environ["NETOPS_DATA"] = str(DATA)
os.environ["NETOPS_PORT"] = str(free_port_base())
os.environ["NETOPS_OUTBOUND_ALLOW"] = "127.0.0.1"


class Service:
    """PostgreSQL or Valkey of this process, which a test may take away for a while."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self._command, self._options = command, options
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, **self._options)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


services: dict[str, Service] = {}


@pytest.fixture(scope="session")
def valkey() -> str:
    """The URL of a running Valkey."""
    from netops import embedded, home

    made = services["valkey"] = Service(embedded.valkey_command(home.folder("run")), stdout=subprocess.DEVNULL)
    path = home.folder("run") / "valkey.sock"
    while not path.exists():
        assert made.process.poll() is None
    return home.redis_url()


def _kept_schema() -> Path:
    """The dump of a database that these very files made: Django needs half a minute for what psql does in a second.
    That the migrations run is tested by those that start an installation (tests/e2e, tests/netops)."""
    root = Path(__file__).resolve().parents[1]
    parts = hashlib.sha256()
    paths = [root / "requirements-dev.lock", root / "tenancy" / "base.py", root / "tenancy" / "audit.py"]
    paths += [root / "netops" / name for name in ("definers.sql", "settings.py", "walls.py")]
    for path in [*paths, *sorted(root.glob("*/models.py")), *sorted(root.glob("*/migrations/*.py"))]:
        parts.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return root / ".venv" / "test-schema" / f"{parts.hexdigest()[:32]}.sql"


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: object, valkey: str) -> None:
    """The database, made by `owner` and used by `app`, as in production."""
    from django.core.management import call_command

    from netops import embedded, home

    postgres = embedded.Postgres(home.data(), home.port("postgres"))
    postgres.prepare(home.secret("database_superuser"))
    command = [
        *postgres.command(),
        "-c",
        "log_min_messages=error",
        "-c",
        "fsync=off",
        "-c",
        "full_page_writes=off",
        "-c",
        "synchronous_commit=off",
    ]
    log = os.open(DATA / "postgres.log", os.O_WRONLY | os.O_CREAT)
    services["postgres"] = Service(command, stderr=log, **postgres.popen_options())
    postgres.wait_ready()
    passwords = {role: home.secret(f"database_{role}") for role in ("owner", "app")}
    embedded.create_roles(postgres, home.secret("database_superuser"), passwords, "netops")
    kept = _kept_schema()
    tool = {"env": {**os.environ, "PGPASSWORD": passwords["owner"]}, "check": True, "stdout": subprocess.DEVNULL}
    where = ["-h", str(postgres.socket), "-p", str(postgres.port), "-U", "owner", "-d", "netops"]
    if kept.exists():
        stop = ["-v", "ON_ERROR_STOP=1", "-1"]
        subprocess.run([str(postgres.bin / "psql"), *where, "-qX", *stop, "-f", str(kept)], **tool)  # type: ignore[call-overload]
        return
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        call_command("migrate", database="owner", verbosity=0)
    kept.parent.mkdir(exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}")
    subprocess.run([str(postgres.bin / "pg_dump"), *where, "-O", "-f", str(draft)], **tool)  # type: ignore[call-overload]
    draft.rename(kept)


def pytest_unconfigure() -> None:
    for service in reversed(services.values()):
        service.stop()
    shutil.rmtree(DATA, ignore_errors=True)
