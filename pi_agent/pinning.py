"""TLS where the peer is known by its key: the SHA-256 of its SubjectPublicKeyInfo (as RFC 7858, section 4.2).

A machine without a clock cannot judge a certificate's dates, and a private address has no name: neither is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class PinError(OSError):
    """The peer has another key than the pinned one."""


def pinned_context() -> ssl.SSLContext:
    """TLS 1.3 that checks nothing by itself: call `check_pin` before anything is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_pin(connection: ssl.SSLObject | ssl.SSLSocket | None, pin: bytes) -> None:
    """Raises PinError unless the peer of a finished handshake has proved the key that `pin` is of."""
    certificate = connection.getpeercert(binary_form=True) if connection else None
    if not certificate or not hmac.compare_digest(spki_sha256(certificate), pin):
        raise PinError("the server has another key than the one the token named: enrol again if it was moved")


def spki_sha256(certificate: bytes) -> bytes:
    """32 bytes, of a certificate in DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
