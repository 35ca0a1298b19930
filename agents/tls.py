"""The keys by which agents know the gateway: that of TLS, named in every join token, and that of SSH. Made once."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from cryptography.x509.oid import NameOID
from django.conf import settings

from core.keys import made_once, new_ssh_key
from pi_agent.enrolment import fingerprint
from pi_agent.pinning import spki_sha256


@cache
def pin() -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo that agents meet: NETOPS_GATEWAY_PIN where a proxy ends TLS, else our own."""
    if settings.GATEWAY_PIN:
        return base64.b64decode(settings.GATEWAY_PIN)
    return spki_sha256(ssl.PEM_cert_to_DER_cert(_certificate(key_file().read_text())))


def server_context() -> ssl.SSLContext | None:
    """TLS 1.3 with our own key; None where a proxy ends TLS."""
    if settings.GATEWAY_PIN:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # agents do not resume sessions
    context.load_cert_chain(key_file())
    return context


def key_file() -> Path:
    """Key and certificate in PEM; made at first use, whoever comes first."""
    return made_once(settings.DATA / "gateway.pem", _make)


def ssh_key_file() -> Path:
    """An ed25519 key as OpenSSH keeps it."""
    return made_once(settings.DATA / "gateway_ssh_key", new_ssh_key)


@cache
def host_key() -> str:
    """The public half of it, as a line of OpenSSH's."""
    key = load_ssh_private_key(ssh_key_file().read_bytes(), None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@cache
def host_fingerprint() -> str:
    """What people compare of it."""
    key = load_ssh_private_key(ssh_key_file().read_bytes(), None).public_key()
    return fingerprint(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _make() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "netops gateway")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Agents pin the key and have no clock: the certificate is only its wrapping, and never runs out.
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)


def _certificate(text: str) -> str:
    return text[text.index("-----BEGIN CERTIFICATE") :]
