"""Pages of one's own SSH keys and one-time passwords. What opens a door wants the account's password once more."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from core.scope import acting
from tenancy import ssh
from tenancy.forms import SshKeyForm, refused
from tenancy.models import SshKey, User


def way_in(request: HttpRequest) -> dict[str, Any]:
    """Where an SSH client finds the consoles, and the key it meets there."""
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    return {"host": host, "port": settings.CONSOLE_SSH_PORT, "fingerprint": ssh.host_fingerprint()}


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@reauthentication_required  # type: ignore[untyped-decorator]
@never_cache
def key_add(request: HttpRequest) -> HttpResponse:
    form, user = SshKeyForm(request.POST or None), cast(User, request.user)
    if form.is_valid():
        try:
            with _acting(request):
                key = ssh.ssh_key_add(user=user, **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, f"The key {key.name} opens your consoles now.")
            return redirect("account")
    return render(request, "tenancy/ssh_key.html", {"form": form})


@require_POST
@login_required
def key_remove(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(SshKey, user=request.user, pk=pk)
    with _acting(request):
        ssh.ssh_key_remove(key=key)
    messages.success(request, f"The key {key.name} opens nothing any more.")
    return redirect("account")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@reauthentication_required  # type: ignore[untyped-decorator]
@never_cache
def password(request: HttpRequest) -> HttpResponse:
    """GET explains, POST makes one and shows it."""
    secret = ssh.ssh_password_issue(user=cast(User, request.user)) if request.method == "POST" else ""
    return render(request, "tenancy/ssh_password.html", {"secret": secret, "ssh": way_in(request)})


def _acting(request: HttpRequest) -> Any:
    return acting(door="page", user=request.user.pk, name=request.user.get_username(), request=request.id)  # type: ignore[attr-defined]
