"""The system's own mail, through the server in NETOPS_EMAIL_HOST."""

import logging
import smtplib

from django.core.mail import EmailMessage

log = logging.getLogger("netops.mail")


def deliver(message: EmailMessage) -> bool:
    """Send it; False where the mail server cannot be reached or refuses it, which is logged."""
    try:
        return message.send() == 1
    except (OSError, smtplib.SMTPException) as error:
        log.warning("mail to %s was not sent: %s: %s", ", ".join(message.to), type(error).__name__, error)
        return False
