"""Machines that enrol and report, for tests: what they say, and how they sign it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.http import HttpResponse
from django.test import Client

from pi_agent.enrolment import (
    BOOT_HEADER,
    COUNTER_HEADER,
    ENROL_PATH,
    KEY_HEADER,
    REGISTER_PATH,
    SIGNATURE_HEADER,
    enrol_message,
    report_message,
)
from pi_agent.identity import Identity
from pi_agent.registration import Interface, Port, Registration

BOOT = uuid.UUID("11111111-1111-4111-8111-111111111111")
PORT = Port("usb-FTDI_A1", "/dev/ttyUSB0", "0403", "6001", "A1", "core switch")


def registration(**values: Any) -> Registration:
    given: dict[str, Any] = {
        "hostname": "pi4", "serial": "10000000abcdef", "model": "Raspberry Pi 4", "os": "Debian 12",
        "software": "0.1.0", "boot": BOOT, "uptime_s": 60, "ports": (PORT,),
        "interfaces": (Interface("eth0", True, "b8:27:eb:00:00:01", ("192.0.2.7",)), Interface("lo", False, "", ())),
    }  # fmt: skip
    return Registration(**{**given, **values})


class Machine:
    """One with a key of its own; `counter` and `boot` are of its signed reports."""

    def __init__(self) -> None:
        self.identity = Identity(Ed25519PrivateKey.generate())
        self.boot, self.counter = BOOT, 0

    @property
    def key(self) -> str:
        return self.identity.public.hex()

    def proof(self, secret: str) -> dict[str, Any]:
        """The arguments of agent_enrol."""
        key = self.identity.public
        return {"secret": secret, "key": key, "signature": self.identity.sign(enrol_message(secret, key))}

    def enrol(self, secret: str, **changes: Any) -> HttpResponse:
        proof = self.proof(secret)
        body = {
            "token": secret, "key": self.key, "signature": proof["signature"].hex(),
            "registration": json.loads(registration().to_json()),
        }  # fmt: skip
        return post(ENROL_PATH, json.dumps({**body, **changes}).encode())

    def headers(self, path: str, body: bytes) -> dict[str, str]:
        self.counter += 1
        signature = self.identity.sign(report_message(path, self.boot, self.counter, body))
        values = (self.key, str(self.boot), str(self.counter), signature.hex())
        return dict(zip((KEY_HEADER, BOOT_HEADER, COUNTER_HEADER, SIGNATURE_HEADER), values, strict=True))

    def report(self, path: str = REGISTER_PATH, body: bytes | None = None) -> HttpResponse:
        body = registration().to_json() if body is None else body
        return post(path, body, self.headers(path, body))


def post(path: str, body: bytes, headers: dict[str, str] | None = None, **extra: Any) -> HttpResponse:
    answer: Any = Client().post(path, data=body, content_type="application/json", headers=headers or {}, **extra)
    found: HttpResponse = answer
    return found
