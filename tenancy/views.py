"""Sign-in, one's own account, invitations, and the way to a team."""

from typing import Any, cast

from allauth.account.models import EmailAddress
from allauth.account.utils import perform_login
from allauth.account.views import LoginView
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import get_adapter as provider_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.scope import acting, team_scope
from tenancy import ssh_views
from tenancy.forms import JoinForm, refused
from tenancy.models import Invitation, Seat, SshKey, User
from tenancy.services import invitation_accept, invitation_find, invitation_sign_up


class SignIn(LoginView):  # type: ignore[misc]
    template_name = "tenancy/sign_in.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        providers = provider_adapter(self.request).list_providers(self.request)
        return {**super().get_context_data(**kwargs), "providers": providers}


class SignOut(LogoutView):
    http_method_names = ["post", "options"]


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the first team of the user, by name."""
    assert request.user.pk
    seats = Seat.of_user(request.user.pk)
    return redirect("overview", seats[0].slug) if seats else render(request, "tenancy/no_team.html")


@require_safe
@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Everything about oneself: address, password, second factor, sessions, teams."""
    user = cast(User, request.user)
    context = {
        "address": EmailAddress.objects.filter(user=user).order_by("-primary").first(),
        "pending": EmailAddress.objects.get_new(user),
        "second_factor": Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first(),
        "sessions": sorted(UserSession.objects.purge_and_list(user), key=lambda each: each.created_at, reverse=True),
        "seats": Seat.of_user(user.pk),
        "ssh": ssh_views.way_in(request),
        "ssh_keys": SshKey.objects.filter(user=user).order_by("-created"),
    }
    return render(request, "tenancy/account.html", context)


@require_POST
@login_required
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Sign another browser of one's own out; its next request finds no session."""
    get_object_or_404(UserSession, pk=pk, user=request.user).end()
    messages.success(request, "That session is signed out.")
    return redirect("account")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """GET asks whether to join, POST joins: as whoever is signed in, or with a new account."""
    form = JoinForm(request.POST or None)
    name = request.user.get_username() or request.POST.get("username")
    with acting(door="page", user=request.user.pk, name=name, request=request.id):  # type: ignore[attr-defined]
        return _invitation(request, secret, form)


def _invitation(request: HttpRequest, secret: str, form: JoinForm) -> HttpResponse:
    try:
        team_id, pk = invitation_find(secret)
        if request.method == "POST" and request.user.is_authenticated:
            team = invitation_accept(secret=secret, user=request.user)
            messages.success(request, f"You are now in {team.name}.")
            return redirect("overview", team.slug)
        if request.method == "POST" and form.is_valid():
            user, team = invitation_sign_up(secret=secret, **form.cleaned_data)
            signed_in: HttpResponse = perform_login(
                request, user, email_verification="none", redirect_url=f"/t/{team.slug}/"
            )
            return signed_in
    except ValidationError as error:
        if "invitation" in error.message_dict:
            return render(request, "tenancy/invitation_gone.html", status=404)
        refused(form, error)
    with team_scope(team_id):
        invited = Invitation.objects.select_related("team", "invited_by").get(pk=pk)
    return render(request, "tenancy/invitation.html", {"form": form, "invitation": invited})
