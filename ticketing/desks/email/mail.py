"""One mail as bytes. The header values are one-line texts, encoded here and parsed by nothing on the way.

`EmailMessage` is not used: up to Python 3.11.9 it decodes encoded words that somebody put into a title, newlines
included (CVE-2024-6923), and it encodes References that are longer than a line.
"""

import re
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from ticketing import bounds
from ticketing.desks.base import Letter

# Lines as long as RFC 5322 allows: a folded Message-ID is legal, but not every reader knows.
_POLICY = compat32.clone(linesep="\r\n", max_line_length=998)


def own_domain() -> str:
    """The host name of PUBLIC_URL as mail wants it; an address is no name."""
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    return host if re.fullmatch(r"(?=.*[a-z])[a-z0-9-]+(\.[a-z0-9-]+)*", host) else "netops.invalid"


def message_id(letter: Letter, operation: int = 0) -> str:
    """The Message-ID of a ticket's first mail, or of one of its later operations; the same whenever it is repeated."""
    return f"<netops.{letter.thread}{f'.{operation}' if operation else ''}@{own_domain()}>"


def compose(letter: Letter, own_id: str, sender: str, to: list[str]) -> bytes:
    """The mail as plain text and HTML, 7 bits wide; an answer in the thread where it is not the first."""
    utf8 = Charset("utf-8")
    utf8.body_encoding = QP
    mail = MIMEMultipart("alternative", policy=_POLICY)
    mail.attach(MIMEText(letter.text, "plain", utf8, policy=_POLICY))  # type: ignore[arg-type]
    mail.attach(MIMEText(letter.html, "html", utf8, policy=_POLICY))  # type: ignore[arg-type]
    first = letter.remote_id in ("", own_id)
    headers = {
        "Message-ID": own_id,
        "Subject": _encoded(bounds.line(letter.subject if first else f"Re: {letter.subject}", 250)),
        "From": sender,
        "To": ", ".join(to),
        "Date": format_datetime(timezone.now()),
        # RFC 3834: no out-of-office answers, please.
        "Auto-Submitted": "auto-generated",
        "X-Netops-Incident": letter.key,
        **({} if first else {"In-Reply-To": letter.remote_id, "References": letter.remote_id}),
    }
    for name, value in headers.items():
        mail[name] = value
    return mail.as_bytes()


def _encoded(text: str) -> str:
    return text if text.isascii() and "=?" not in text else Header(text, "utf-8", header_name="Subject").encode()
