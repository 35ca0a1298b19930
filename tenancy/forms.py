"""What people type on the pages of this room. Rules are in the services; these only parse."""

import re
from typing import Any

from allauth.account.forms import LoginForm
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from django import forms
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError

from tenancy.roles import ROLES


class SignInForm(LoginForm):  # type: ignore[misc]
    """`aria-*` names the one error of the page, because it is about both fields."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label, self.fields["password"].label = "User name or e-mail", "Password"
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
            field.help_text = ""
        self.fields["login"].widget.attrs |= {"autocomplete": "username", "autocapitalize": "none", "autofocus": True}


class CodeForm(AuthenticateForm):  # type: ignore[misc]
    """The second step. A code is good once for as long as it could be (RFC 6238, 5.2); allauth's memory is shorter."""

    def clean_code(self) -> str:
        code: str = super().clean_code()
        remembered_s = (2 * settings.MFA_TOTP_TOLERANCE + 2) * 30
        if not cache.add(f"netops:code:{self.user.pk}:{normalize_user_code(code)}", "used", remembered_s):
            raise get_adapter().validation_error("incorrect_code")
        return code


class JoinForm(forms.Form):
    username = forms.CharField(
        label="User name",
        max_length=150,
        widget=forms.TextInput({"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text="At least 10 characters.",
    )  # fmt: skip


class TeamForm(forms.Form):
    name = forms.CharField(label="Name", max_length=100)


class RoleForm(forms.Form):
    """A role up to `limit`, the one of whoever chooses."""

    role = forms.ChoiceField(label="Role")

    def __init__(self, *args: Any, limit: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = ROLES[: ROLES.index(limit) + 1]
        self.fields["role"] = forms.ChoiceField(
            label="Role", choices=[(role, role.capitalize()) for role in roles], initial="viewer"
        )


class InvitationForm(RoleForm):
    email = forms.EmailField(label="E-mail", max_length=254)
    field_order = ("email", "role")


class TokenForm(RoleForm):
    name = forms.CharField(label="Name", max_length=60, help_text="What it is for, for example: nightly export")
    expires = forms.DateTimeField(
        label="Expires (UTC)", required=False, widget=forms.DateTimeInput({"type": "datetime-local"}),
        help_text="Empty: never.",
    )  # fmt: skip
    networks = forms.CharField(
        label="Networks", required=False, widget=forms.TextInput({"placeholder": "192.0.2.0/24, 2001:db8::/32"}),
        help_text="Where it may be used from. Empty: everywhere.",
    )  # fmt: skip
    field_order = ("name", "role", "expires", "networks")

    def clean_networks(self) -> list[str]:
        return [text for text in re.split(r"[\s,]+", self.cleaned_data["networks"]) if text]


class SshKeyForm(forms.Form):
    line = forms.CharField(
        label="Public key", max_length=4000, widget=forms.Textarea({"rows": 4, "spellcheck": "false"}),
        help_text="The one line of a .pub file, for example ~/.ssh/id_ed25519.pub",
    )  # fmt: skip
    name = forms.CharField(label="Name", max_length=60, required=False, help_text="Empty: as its comment says.")


def refused(form: forms.Form, error: ValidationError) -> None:
    """Put what a service refused beside the fields it is about."""
    for name, texts in error.message_dict.items():
        form.add_error(name if name in form.fields else None, ValidationError(texts))
