"""What django-allauth asks of us: who may have an account, in which words, with secrets encrypted."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.utils import filter_users_by_email
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.client import client_address
from core.mail import deliver
from core.secrets import cipher
from tenancy.models import User

_MISMATCH = "That name and password do not match. Check both; capital letters count."
_WAIT = "Too many wrong attempts. Wait five minutes, then try again."
# What is worth a line on the next page; allauth has many more.
_SAID = {
    "account/messages/password_changed.txt": "Your password is changed.",
    "account/messages/password_set.txt": "Your password is set.",
    "account/messages/email_confirmation_sent.txt": "A mail with a link is on its way: open it to confirm the address.",
    "account/messages/email_confirmed.txt": "Your address is confirmed.",
    "mfa/messages/totp_activated.txt": "Two-factor sign-in is on.",
    "mfa/messages/totp_deactivated.txt": "Two-factor sign-in is off.",
    "mfa/messages/recovery_codes_generated.txt": "You have new recovery codes; the old ones no longer work.",
}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """One error for a wrong name and a wrong password alike, so that names cannot be found out."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": _MISMATCH,
        "email_password_mismatch": _MISMATCH,
        "too_many_login_attempts": _WAIT,
        "enter_current_password": "This is not your current password.",
        "incorrect_password": "This is not your password.",
        "incorrect_code": "This code is not right. Codes change every 30 seconds: enter the current one.",
        "duplicate_email": "This is your address already.",
        "rate_limited": _WAIT,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts come from invitation links (tenancy.services), or by OpenID below."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or "127.0.0.1"  # a Unix socket has none

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        return render(request, "tenancy/inactive.html", status=403)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return "/account/"

    def get_email_verification_redirect_url(self, email_address: EmailAddress) -> str:
        return "/account/"

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if text := _SAID.get(message_template or ""):
            messages.add_message(request, level, text)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if not deliver(self.render_mail(template_prefix, email, context)):
            messages.error(self.request, f"The mail to {email} could not be sent: ask whoever runs this netops.")


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """TOTP keys and the seeds of recovery codes lie encrypted under the installation's key."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"]
    }

    def encrypt(self, text: str) -> str:
        return cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return cipher().decrypt(encrypted_text).decode()


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Whom the operator's OpenID provider knows has an account here, at first without teams."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[User, str] | None:
        """Only an address confirmed on both sides says that two people are one."""
        vouched = [address.email.lower() for address in sociallogin.email_addresses if address.verified]
        known = EmailAddress.objects.filter(email__in=vouched, verified=True).select_related("user").first()
        return (known.user, known.email) if known else None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """An address that somebody here claims without having confirmed it stays theirs; the account starts without."""
        if sociallogin.is_existing:
            return
        if any(filter_users_by_email(address.email) for address in sociallogin.email_addresses):
            sociallogin.email_addresses, sociallogin.user.email = [], ""

    def on_authentication_error(self, request: HttpRequest, provider: Any, *args: Any, **kwargs: Any) -> None:
        messages.error(request, f"{provider.name} did not sign you in. Try again, or sign in with a password.")
        raise ImmediateHttpResponse(redirect("sign-in"))
