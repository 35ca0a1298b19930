"""`netops-agent rotate`: another key in the place of this agent's, whatever is killed on the way.

The new key is on disk before the server hears of it, and the old one until the server has taken the new one. Whoever
starts in between finds both, and the server knows one of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pi_agent import state
from pi_agent.config import Config, parse_pin
from pi_agent.enrolment import HEARTBEAT_PATH, ROTATE_PATH, rotate_message
from pi_agent.identity import Identity, IdentityError, settle
from pi_agent.post import PostError, post
from pi_agent.reports import UNKNOWN, signed_headers
from pi_agent.state import Enrolled, StateError, boot_clock_ns


def next_to(key_file: Path) -> Path:
    """Where the new key waits until the server has taken it."""
    return key_file.with_name(key_file.name + ".next")


class Keys:
    """The key that a running agent is known by: that of its file, or the one that is to take its place."""

    def __init__(self, file: Path) -> None:
        """Raises IdentityError."""
        self._file = file
        self._identity = Identity.load(file)

    @property
    def private(self) -> Ed25519PrivateKey:
        return self._identity.private

    @property
    def public(self) -> bytes:
        return self._identity.public

    def sign(self, message: bytes) -> bytes:
        return self._identity.sign(message)

    def refused(self) -> None:
        """The server does not know this key: the other one is tried next, if there is one."""
        for path in (self._file, next_to(self._file)):
            with contextlib.suppress(IdentityError):
                other = Identity.load(path)
                if other.public != self.public:
                    self._identity = other
                    return

    def accepted(self) -> None:
        """The server knows this key: it is the one to keep."""
        if next_to(self._file).exists():
            _keep(self._file, self.public)


def rotate(config: Config) -> bytes:
    """The new key, which the server has taken. Told by the first call or a later one: it goes on where one was ended.

    Raises PostError, StateError, IdentityError, or ValueError with one sentence."""
    enrolled = Enrolled.load(config.folder)
    if enrolled is None:
        raise StateError("this agent is not enrolled: run netops-agent enrol URL TOKEN")
    server, pin = config.server or enrolled.server, parse_pin(config.pin) if config.pin else bytes.fromhex(enrolled.pin)
    old, path = Identity.load(config.key_file), next_to(config.key_file)
    new = Identity.load(path) if path.exists() else Identity.create(path)
    state.hand_over(path)
    told = {"key": new.public.hex(), "signature": new.sign(rotate_message(old.public, new.public)).hex()}

    def send(identity: Identity, where: str, body: bytes) -> None:
        post(server, where, body, pin, signed_headers(identity, where, boot_clock_ns(), body))

    try:
        send(old, ROTATE_PATH, json.dumps(told).encode())
    except PostError as error:
        if error.status != UNKNOWN:
            raise
        send(new, HEARTBEAT_PATH, b"{}")  # it was taken before, and its answer got lost
    _keep(config.key_file, new.public)
    return new.public


def _keep(file: Path, key: bytes) -> None:
    """Put the key that waits in its place, unless that was done meanwhile."""
    with contextlib.suppress(FileNotFoundError, IdentityError):
        if Identity.load(next_to(file)).public == key:
            os.replace(next_to(file), file)
            settle(file.parent)
