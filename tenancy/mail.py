"""The mails of a team."""

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse

from core.mail import deliver


def invitation_send(*, team: str, email: str, secret: str, by: str) -> tuple[str, bool]:
    """Mail an invitation to `team`; its link, and whether the mail went out."""
    link = settings.PUBLIC_URL + reverse("invitation", args=[secret])
    body = render_to_string("tenancy/invitation.txt", {"team": team, "link": link, "by": by})
    return link, deliver(EmailMessage(f"Join {team} on netops", body, to=[email]))
