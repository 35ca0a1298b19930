"""How an agent and its server come to know each other's keys, and how reports without a link are signed."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Self

ENROL_PATH = "/api/agents/enrol/"
REGISTER_PATH = "/api/agents/register/"
HEARTBEAT_PATH = "/api/agents/heartbeat/"
ROTATE_PATH = "/api/agents/rotate/"
"""A report under the old key whose body is {"key": …, "signature": …}: the new key, and its own over rotate_message."""

KEY_HEADER, BOOT_HEADER, COUNTER_HEADER, SIGNATURE_HEADER = (
    f"Netops-{name}" for name in ("Key", "Boot", "Counter", "Signature")
)
"""Of a signed report: public key in hexadecimal, boot id, a counter that grows, signature in hexadecimal."""

_TOKEN = re.compile(r"^([0-9a-f]{32})\.([0-9A-Za-z_-]{43})$")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`secret`: 128 bits in hexadecimal, spent by enrolling. `pin`: SHA-256 of the server's SubjectPublicKeyInfo, so
    that the first contact already knows whom it talks to (RFC 7858 section 4.2 pins the same way)."""

    secret: str
    pin: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with one sentence."""
        match = _TOKEN.match(text.strip())
        if not match:
            raise ValueError("the token is not whole: copy it again, both parts around its dot")
        return cls(match[1], base64.urlsafe_b64decode(match[2] + "="))

    def __str__(self) -> str:
        return f"{self.secret}.{base64.urlsafe_b64encode(self.pin).decode().rstrip('=')}"


def fingerprint(key: bytes) -> str:
    """What people compare of an ed25519 key: as OpenSSH prints it, over the key in the form of RFC 8709."""
    blob = b"\0\0\0\x0bssh-ed25519" + len(key).to_bytes(4, "big") + key
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def enrol_message(secret: str, key: bytes) -> bytes:
    """What the holder of `key` signs to enrol it."""
    return b"netops-enrol-1\0" + hashlib.sha256(secret.encode()).digest() + key


def rotate_message(old: bytes, new: bytes) -> bytes:
    """What the holder of the key `new` signs to take the place of `old`."""
    return b"netops-rotate-1\0" + old + new


def report_message(path: str, boot: uuid.UUID, counter: int, body: bytes) -> bytes:
    """What an agent signs of a report by HTTP; (boot, counter) makes each one single."""
    head = b"netops-report-1\0" + path.encode() + b"\0" + boot.bytes + counter.to_bytes(8, "big")
    return head + hashlib.sha256(body).digest()
