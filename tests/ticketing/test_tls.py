"""TLS to the mail server: both kinds, checked against the name although the address is pinned."""

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tenancy.models import Team
from tests.ticketing.conftest import deliver, last_error, mail_settings, operations, report
from tests.ticketing.smtp import Mailbox, serving
from ticketing.services import desk_create


def certificate(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server context with a certificate for `name` that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_mail_goes_out_encrypted(security: str, scope: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = certificate(tmp_path, "localhost", monkeypatch)
    mailbox = Mailbox(password=b"hunter2-correct")
    implicit = security == "tls"
    options: dict[str, Any] = {} if implicit else {"tls_context": context, "require_starttls": True}
    # aiosmtpd offers a login on STARTTLS only, not where all is TLS.
    login = {} if implicit else {"username": "netops", "password": "hunter2-correct"}
    with serving(mailbox, context=context if implicit else None, **options):
        given = mail_settings(mailbox.port, host="localhost", security=security, **login)
        desk_create(name="mail", driver="email", settings=given)
        report()
        deliver(scope)
    assert operations() == [("create", "done")]
    assert len(mailbox.mails) == 1
    assert len(mailbox.logins) == len(login) // 2


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_for_another_name_is_refused(
    security: str, scope: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certificate(tmp_path, "mail.example.org", monkeypatch)
    implicit = security == "tls"
    options: dict[str, Any] = {} if implicit else {"tls_context": context}
    mailbox = Mailbox()
    with serving(mailbox, context=context if implicit else None, **options):
        given = mail_settings(mailbox.port, host="localhost", security=security)
        desk_create(name="mail", driver="email", settings=given)
        report()
        deliver(scope)
    assert operations() == [("create", "pending")]
    assert "its certificate is not valid" in last_error()
    assert mailbox.mails == []


def test_a_server_without_starttls_gets_no_mail_in_the_clear(scope: Team, mailbox: Mailbox) -> None:
    given = mail_settings(mailbox.port, security="starttls", username="u", password="hunter2-correct")
    desk_create(name="mail", driver="email", settings=given)
    report()
    deliver(scope)
    assert operations() == [("create", "dead")]
    assert "STARTTLS" in last_error()
    assert mailbox.mails == []
    assert mailbox.logins == []
