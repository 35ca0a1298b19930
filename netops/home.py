"""Where an installation keeps its files, ports and secrets: NETOPS_DATA and NETOPS_PORT. Loads no Django."""

import errno
import json
import os
import secrets
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

PORTS = {
    "web": 0,
    "gateway": 1,
    "postgres": 2,
    "valkey": 3,
    "mail": 4,
    "bgp": 5,
    "ssh": 6,
    "console": 7,
    "console_ssh": 8,
}


def fail(sentence: str, status: int = 1) -> NoReturn:
    """End the process with one line that names what is wrong and the fix."""
    print(f"netops: {sentence}", file=sys.stderr)
    raise SystemExit(status)


def data() -> Path:
    """The folder of this installation: NETOPS_DATA, made on first use; nothing outside it is changed."""
    default = "/var/lib/netops" if os.geteuid() == 0 else "~/.local/share/netops"
    folder = Path(os.environ.get("NETOPS_DATA") or default).expanduser().absolute()
    if not folder.is_dir():
        try:
            folder.mkdir(parents=True, mode=0o711)
        except OSError as error:
            fail(f"NETOPS_DATA {folder} cannot be made ({error.strerror}): name a folder that can be written.")
    return folder


def port(name: str) -> int:
    """The TCP port of one part: NETOPS_PORT (8000) plus its place in PORTS."""
    text = os.environ.get("NETOPS_PORT") or "8000"
    if not text.isdecimal() or not 1024 <= int(text) <= 65500:
        fail(f"NETOPS_PORT is {text!r}: give a number from 1024 to 65500.")
    return int(text) + PORTS[name]


def folder(name: str) -> Path:
    """A private folder of the installation (mode 0700)."""
    path = data() / name
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        fail(f"{path} cannot be made ({_reason(error)}): free space there or name another NETOPS_DATA.")
    return path


def _reason(error: OSError) -> str:
    return "the disk is full" if error.errno == errno.ENOSPC else error.strerror or "no reason given"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(text)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        fail(f"{path} cannot be written ({_reason(error)}): free space there or name another NETOPS_DATA.")


@cache
def secret(name: str) -> str:
    """A secret of this installation: NETOPS_<NAME> from the environment, else made once and kept in secrets.json."""
    if from_environment := os.environ.get(f"NETOPS_{name.upper()}"):
        return from_environment
    path = data() / "secrets.json"
    try:
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read ({error}): restore it from a backup.")
    if name not in known:
        known[name] = secrets.token_urlsafe(12 if name == "demo_password" else 48)
        write_private(path, json.dumps(known, indent=1))
    return known[name]


def secrets_keys() -> list[str]:
    """The keys of secrets at rest, newest first: NETOPS_SECRETS_KEY with commas between, or kept in secrets.json."""
    path = data() / "secrets.json"
    if os.environ.get("NETOPS_SECRETS_KEY") or not path.exists():
        text = secret("secrets_key")
    else:
        # Another process may have put a new key in front: a change of the file is taken up at once.
        known = path.stat()
        text = _secrets_key(path, (known.st_mtime_ns, known.st_ino)) or secret("secrets_key")
    return [key.strip() for key in text.split(",") if key.strip()]


@lru_cache(1)
def _secrets_key(path: Path, seen: tuple[int, int]) -> str:
    return str(json.loads(path.read_text()).get("secrets_key", ""))


def secrets_keys_write(keys: list[str]) -> None:
    """Keep these keys of secrets at rest in secrets.json, newest first."""
    secret("secrets_key")
    path = data() / "secrets.json"
    known = json.loads(path.read_text())
    write_private(path, json.dumps({**known, "secrets_key": ",".join(keys)}, indent=1))


def database_url(role: str) -> str:
    """`owner` (migrations) or `app` (everything else), from the environment or of the embedded PostgreSQL."""
    variable = "NETOPS_OWNER_DATABASE_URL" if role == "owner" else "NETOPS_DATABASE_URL"
    password = secret(f"database_{role}") if not os.environ.get(variable) else ""
    socket = quote(str(data() / "postgres" / "run"), safe="")
    return os.environ.get(variable) or f"postgresql://{role}:{password}@{socket}:{port('postgres')}/netops"


def redis_url() -> str:
    """Valkey's or Redis' URL, from the environment or the embedded one's Unix socket."""
    return os.environ.get("NETOPS_REDIS_URL") or f"unix://{data() / 'run' / 'valkey.sock'}"


def embedded() -> bool:
    """True where netops starts PostgreSQL and Valkey itself."""
    return not os.environ.get("NETOPS_DATABASE_URL")
