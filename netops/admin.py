"""The superuser's admin at /admin/: in one chosen team at a time, and the team sees it in its audit trail.

Each view runs in the scope of the chosen team, as everywhere else, so row-level security holds here too. Without a
team only what belongs to the installation can be reached: people and teams.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from core.scope import acting, team_scope
from core.secrets import SecretField
from netops.walls import team_models
from tenancy import services
from tenancy.audit import AuditEvent
from tenancy.models import ApiToken, Invitation, Membership, Team, User

log = logging.getLogger("netops.admin")
_CHOSEN = "admin_team"
View = Callable[..., HttpResponse]


class Site(admin.AdminSite):
    site_header = site_title = "netops admin"
    index_title = "Installation"
    index_template = "admin/netops_index.html"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def admin_view(self, view: View, cacheable: bool = False) -> View:  # type: ignore[override]
        inner = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not self.has_permission(request):
                raise Http404
            team = _chosen(request)
            if team is None and isinstance(getattr(view, "__self__", None), TeamAdmin):
                messages.warning(request, "Choose a team first.")
                return redirect("admin:index")
            with acting(**_actor(request)):
                if team is None:
                    return _rendered(inner(request, *args, **kwargs))
                with team_scope(team.pk):
                    return _rendered(inner(request, *args, **kwargs))

        return guarded

    def get_urls(self) -> list[Any]:
        """Ours signs people in and out, and changes their passwords."""
        left_out = {"login", "logout", "password_change", "password_change_done"}
        kept = [each for each in super().get_urls() if getattr(each, "name", "") not in left_out]
        return [path("team/", self.admin_view(self.choose), name="team"), *kept]

    def each_context(self, request: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().each_context(request)
        return context | {"team": _chosen(request), "teams": Team.objects.order_by("name")}

    def choose(self, request: HttpRequest) -> HttpResponse:
        """POST `team`: work in this one from now on; empty: in none. The team's people see the visit."""
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        wanted = request.POST.get("team", "")
        request.session.pop(_CHOSEN, None)
        if wanted:
            team = Team.objects.filter(slug=wanted).first()
            if team is None:
                messages.error(request, f"There is no team {wanted[:40]!r}.")
            else:
                services.admin_visit(team=team, user=request.user)  # type: ignore[arg-type]
                request.session[_CHOSEN] = team.pk
        return redirect("admin:index")


def _chosen(request: HttpRequest) -> Team | None:
    pk = request.session.get(_CHOSEN)
    return Team.objects.filter(pk=pk).first() if pk else None


def _actor(request: HttpRequest) -> dict[str, Any]:
    return {
        "door": "admin",
        "user": request.user.pk,
        "name": request.user.get_username(),
        "request": request.id,  # type: ignore[attr-defined]
    }


def _rendered(response: HttpResponse) -> HttpResponse:
    """Pages of the admin ask the database while they are rendered: that must be inside the scope."""
    return response.render() if isinstance(response, TemplateResponse) else response


class NoLog:
    """Django's own log would be a second trail outside the walls; the audit trail and the server's log tell it."""

    def log_addition(self, request: Any, obj: Any, message: Any) -> Any:
        self._say(request, "made", obj)

    def log_change(self, request: Any, obj: Any, message: Any) -> Any:
        self._say(request, "changed", obj)

    def log_deletions(self, request: Any, queryset: Any) -> Any:
        for each in queryset:
            self._say(request, "deleted", each)

    def history_view(self, request: Any, object_id: str, extra_context: Any = None) -> HttpResponse:
        raise Http404

    def _say(self, request: HttpRequest, verb: str, obj: models.Model) -> None:
        log.info("%s %s %s %s", request.user.get_username(), verb, obj._meta.verbose_name, obj.pk)


class Installation(NoLog):
    """What no team owns is never deleted here: people are switched off, and teams hold rows of their own."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class People(Installation, UserAdmin):  # type: ignore[type-arg]
    fieldsets = (
        (None, {"fields": ("username", "password", "email")}),
        ("May", {"fields": ("is_active", "is_superuser")}),
    )
    list_display = ("username", "email", "is_active", "is_superuser")
    list_filter = ("is_active", "is_superuser")
    filter_horizontal = ()


class Teams(Installation, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            services.team_update(team=obj, name=obj.name, by="owner")
        else:
            obj.pk = services.team_create(slug=obj.slug, name=obj.name).pk


class TeamAdmin(NoLog, admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows of the chosen team, to be looked at."""

    actions = None
    show_full_result_count = False
    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _chosen(request) is not None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [each.name for each in self.model._meta.fields if isinstance(each, SecretField)]

    def changeform_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return _told(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return _told(request, super().delete_view, *args, **kwargs)


def _told(request: HttpRequest, view: View, *args: Any, **kwargs: Any) -> HttpResponse:
    """What a service refuses is said in its own words, above the form."""
    try:
        return view(request, *args, **kwargs)
    except ValidationError as error:
        for sentence in error.messages:
            messages.error(request, sentence)
        return HttpResponseRedirect(request.path)


class Removable(TeamAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)


class Members(Removable):
    fields = ("user", "role")
    list_display = ("user", "role", "created")
    list_select_related = ("user",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)

    has_change_permission = has_add_permission

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("user",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.pk = services.member_set(team=_team(request), user=obj.user, role=obj.role).pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        services.member_remove(team=_team(request), user=obj.user)


class Invitations(Removable):
    list_display = ("email", "role", "created", "expires")

    def delete_model(self, request: HttpRequest, obj: Invitation) -> None:
        services.invitation_withdraw(team=_team(request), pk=obj.pk)


class Tokens(Removable):
    list_display = ("name", "key", "role", "user", "expires", "last_used")
    list_select_related = ("user",)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What its programs have of it, good for seconds, goes along unasked."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        services.token_revoke(team=_team(request), pk=obj.pk)


def _team(request: HttpRequest) -> Team:
    team = _chosen(request)
    assert team
    return team


site = Site(name="admin")
site.register(User, People)
site.register(Team, Teams)
_OWN: dict[type[models.Model], type[TeamAdmin]] = {Membership: Members, Invitation: Invitations, ApiToken: Tokens}
for _model in team_models():
    # Django's admin cannot show a table with a key of several columns (probe minutes).
    if not issubclass(_model, AuditEvent) and not isinstance(_model._meta.pk, models.CompositePrimaryKey):
        site.register(_model, _OWN.get(_model, TeamAdmin))
