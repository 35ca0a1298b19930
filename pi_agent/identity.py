"""Who an agent is: an ed25519 key (RFC 8032) in a file of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class IdentityError(Exception):
    """The key file cannot be used; the text is one sentence that says what to do."""


class Signer(Protocol):
    """Who holds an ed25519 key."""

    @property
    def private(self) -> Ed25519PrivateKey: ...

    @property
    def public(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Identity:
    private: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.private.sign(message)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a key and write it as 64 hexadecimal digits, whole or not at all; no file is ever overwritten."""
        identity = cls(Ed25519PrivateKey.generate())
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(identity.private.private_bytes_raw().hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            finally:
                draft.unlink()
            settle(path.parent)
        except FileExistsError:
            raise IdentityError(f"{path} exists; remove it first, or name another file") from None
        except OSError as error:
            raise IdentityError(f"cannot write {path}: {error.strerror}") from None
        return identity

    @classmethod
    def load(cls, path: Path) -> Self:
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(100)
        except FileNotFoundError:
            raise IdentityError(f"no key file {path}; make one with: netops-agent keygen {path}") from None
        except OSError as error:
            raise IdentityError(f"cannot read {path}: {error.strerror}") from None
        if mode & 0o077:
            raise IdentityError(f"others can read {path}; run: chmod 600 {path}")
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text.decode("ascii"))))
        except ValueError:
            raise IdentityError(f"{path} is not a key file; make one with: netops-agent keygen") from None


def settle(folder: Path) -> None:
    """What was made or renamed in the folder outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the holder of the public `key` signed the message; never raises, whatever the bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
