"""The pages of a team about itself: members, invitations, tokens, settings."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from core.views import page
from tenancy import selectors, services
from tenancy.access import needs
from tenancy.forms import InvitationForm, RoleForm, TeamForm, TokenForm, refused
from tenancy.mail import invitation_send
from tenancy.middleware import seat_of
from tenancy.models import Membership, Team, User
from tenancy.roles import can


@require_http_methods(["GET", "HEAD", "POST"])
@needs("view")
def members(request: HttpRequest, slug: str) -> HttpResponse:
    """The list for every member; POST invites."""
    if request.method == "POST":
        return _invite(request, slug)
    return _members(request)


@needs("team.admin")
def _invite(request: HttpRequest, slug: str) -> HttpResponse:
    seat = seat_of(request)
    form = InvitationForm(request.POST, limit=seat.role)
    if form.is_valid():
        try:
            secret = services.invitation_create(
                team=_team(request), invited_by=cast(User, request.user), by=seat.role, **form.cleaned_data
            )
        except ValidationError as error:
            refused(form, error)
        else:
            return _members(request, link=_send(request, form.cleaned_data["email"], secret))
    return _members(request, form=form)


def _members(request: HttpRequest, form: InvitationForm | None = None, link: str = "") -> HttpResponse:
    seat = seat_of(request)
    admin = can(seat.role, "team.admin")
    context: dict[str, Any] = {"section": "team", "tab": "members", "members": selectors.member_rows(), "link": link}
    if admin:
        context |= {
            "invitations": selectors.invitation_rows(),
            "form": form or InvitationForm(limit=seat.role),
            "roles": RoleForm(limit=seat.role).fields["role"].choices,  # type: ignore[attr-defined]
        }
    return page(request, "tenancy/members.html", context, "tenancy/_members.html")


@require_POST
@needs("team.admin")
def member(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change a member's role."""
    user = get_object_or_404(Membership.objects.select_related("user"), pk=pk).user
    role, team, by = request.POST.get("role", ""), _team(request), seat_of(request).role
    return _do(
        request, lambda: services.member_set(team=team, user=user, role=role, by=by), f"{user} is now {role}.", "team"
    )


@require_POST
@needs("team.admin")
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = get_object_or_404(Membership.objects.select_related("user"), pk=pk).user
    team, by = _team(request), seat_of(request).role
    return _do(
        request, lambda: services.member_remove(team=team, user=user, by=by), f"{user} is out of the team.", "team"
    )


@require_POST
@needs("view")
def leave(request: HttpRequest, slug: str) -> HttpResponse:
    team, by = _team(request), seat_of(request).role
    try:
        services.member_remove(team=team, user=cast(User, request.user), by=by)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("team", slug)
    messages.success(request, f"You have left {team.name}.")
    return redirect("home")


@require_POST
@needs("team.admin")
def invitation_renew(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """A new link by mail; the old one is dead."""
    try:
        invitation, secret = services.invitation_renew(team=_team(request), pk=pk, by=seat_of(request).role)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("team", slug)
    return _members(request, link=_send(request, invitation.email, secret))


@require_POST
@needs("team.admin")
def invitation_withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    team, by = _team(request), seat_of(request).role
    return _do(
        request,
        lambda: services.invitation_withdraw(team=team, pk=pk, by=by),
        "The invitation is withdrawn; its link is dead.",
        "team",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
@never_cache
def tokens(request: HttpRequest, slug: str) -> HttpResponse:
    """POST makes one and shows its secret on the answer, the only time."""
    seat, secret = seat_of(request), ""
    form = TokenForm(request.POST or None, limit=seat.role)
    if form.is_valid():
        try:
            secret = services.token_create(team=_team(request), user=cast(User, request.user), **form.cleaned_data)
            form = TokenForm(limit=seat.role)
        except ValidationError as error:
            refused(form, error)
    context = {"section": "team", "tab": "tokens", "tokens": selectors.token_rows(), "form": form, "secret": secret}
    return render(request, "tenancy/tokens.html", context)


@require_POST
@needs("team.admin")
def token_revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    team = _team(request)
    return _do(request, lambda: services.token_revoke(team=team, pk=pk), "The token is revoked.", "tokens")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("team.admin")
def team_settings(request: HttpRequest, slug: str) -> HttpResponse:
    seat = seat_of(request)
    form = TeamForm(request.POST or None, initial={"name": seat.name})
    if form.is_valid():
        try:
            services.team_update(team=_team(request), by=seat.role, **form.cleaned_data)
            messages.success(request, "The team has its new name.")
            return redirect("team-settings", slug)
        except ValidationError as error:
            refused(form, error)
    return render(request, "tenancy/team_settings.html", {"section": "team", "tab": "settings", "form": form})


def _team(request: HttpRequest) -> Team:
    return Team.objects.get(pk=seat_of(request).team_id)


def _do(request: HttpRequest, service: Callable[[], object], done: str, back: str) -> HttpResponse:
    """Call the service and go back to the list with a line that says what came of it."""
    try:
        service()
        messages.success(request, done)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect(back, seat_of(request).slug)


def _send(request: HttpRequest, email: str, secret: str) -> str:
    """Mail the invitation; its link, which the page shows this once too."""
    seat = seat_of(request)
    link, sent = invitation_send(team=seat.name, email=email, secret=secret, by=request.user.get_username())
    if sent:
        messages.success(request, f"The invitation is on its way to {email}.")
    else:
        messages.error(request, f"The mail to {email} could not be sent: give them the link below yourself.")
    return link
