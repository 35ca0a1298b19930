"""Keys of this installation that lie in files only its owner reads."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def made_once(path: Path, make: Callable[[], bytes]) -> Path:
    """A private file that whoever comes first has made."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(make())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path


def new_ssh_key() -> bytes:
    """An ed25519 key as OpenSSH keeps it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
