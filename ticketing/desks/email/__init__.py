"""A desk behind a mailbox.

All mails of a ticket are one thread (RFC 5322, 3.6.4): the first has a Message-ID that depends on the ticket alone,
the later ones name it in In-Reply-To and References, and the subject stays. A mailbox cannot be searched, so where
the answer to a mail was lost the mail is sent again, with the same Message-ID: at least once, not exactly once.
The window is from the last byte of the mail to the server's 250, and from there to the commit that records it.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from core import outbound
from ticketing.desks import base
from ticketing.desks.email.mail import compose, message_id
from ticketing.desks.email.session import Session

PORTS = {"none": 25, "starttls": 587, "tls": 465}
_FIELDS = {"host", "port", "security", "username", "password", "sender", "to"}


class Driver(base.Driver):
    """Settings: host, security (none, starttls, tls), port, username, password, sender, to (1 to 20 addresses)."""

    label = "E-mail"
    verbs = frozenset({"create", "note", "resolve"})
    secrets = frozenset({"password"})

    @classmethod
    def clean(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(settings) - _FIELDS):
            raise ValidationError(dict.fromkeys(unknown, "This is not a setting of an e-mail desk."))
        security = settings.get("security", "none")
        if security not in tuple(PORTS):
            raise ValidationError({"security": f"{security!r} is unknown: use none, starttls or tls."})
        port = settings.get("port") or PORTS[security]
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
            raise ValidationError({"port": "Give a port from 1 to 65535."})
        username, password = _text(settings, "username"), _text(settings, "password")
        if bool(username) != bool(password):
            raise ValidationError({"password": "A user name and a password go together: give both or neither."})
        to = settings.get("to")
        if not isinstance(to, list) or not 1 <= len(to) <= 20:
            raise ValidationError({"to": "Give a list of 1 to 20 addresses."})
        cleaned = {
            "host": _text(settings, "host"),
            "port": port,
            "security": security,
            "username": username,
            "password": password,
            "sender": _address("sender", settings.get("sender")),
            "to": [_address("to", each) for each in to],
        }
        if not cleaned["host"]:
            raise ValidationError({"host": "Name the mail server."})
        outbound.resolve(cleaned["host"], port)
        return cleaned

    def create(self, letter: base.Letter) -> base.Receipt:
        return self._send(letter, message_id(letter))

    def note(self, letter: base.Letter) -> base.Receipt:
        return self._send(letter, message_id(letter, letter.operation))

    def resolve(self, letter: base.Letter) -> base.Receipt:
        return self._send(letter, message_id(letter, letter.operation))

    def _send(self, letter: base.Letter, own_id: str) -> base.Receipt:
        try:
            target = outbound.resolve(self.settings["host"], self.settings["port"])
        except ValidationError as error:
            raise base.DeskUnavailable(error.messages[0], down=True) from None
        mail = compose(letter, own_id, self.settings["sender"], self.settings["to"])
        with Session(target, self.settings) as session:
            remark = session.send(letter.progress.get("to") or self.settings["to"], mail)
        return base.Receipt(letter.remote_id or own_id, remark)


def _text(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name) or ""
    if not isinstance(value, str) or len(value) > 255 or not value.isascii() or not value.isprintable():
        raise ValidationError({name: "Give one line of at most 255 ASCII characters."})
    return value.strip() if name != "password" else value


def _address(field: str, value: object) -> str:
    with contextlib.suppress(ValidationError):
        if isinstance(value, str) and value.isascii() and '"' not in value:
            validate_email(value)
            return value
    raise ValidationError({field: "Give e-mail addresses such as noc@example.org."})
