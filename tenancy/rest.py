"""REST of the team, its members, invitations and tokens, under /api/tenancy/."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from core.api.resource import Resource
from core.api.rows import Row
from core.scope import current_team_id
from tenancy import services
from tenancy.mail import invitation_send
from tenancy.middleware import seat_of
from tenancy.models import ApiToken, Invitation, Membership, Team, User


class UserRow(Row):
    class Meta:
        model = User
        fields = brief = ("id", "display", "username")
        display = ("username",)


class Users(Resource):
    """How users stand in other rows; they have no address of their own, since they belong to no team."""

    row, plural = UserRow, "users"


class TeamRow(Row):
    class Meta:
        model = Team
        fields = ("id", "url", "display", "slug", "name")
        read_only_fields = ("slug",)
        brief = fields


class Teams(Resource):
    """The team that the token is of, or that X-Team names."""

    row, plural = TeamRow, "teams"
    capability, takes_request = "team.admin", True

    @classmethod
    def rows(cls) -> QuerySet[Any]:
        return Team.objects.filter(pk=current_team_id())

    @staticmethod
    def update(row: Team, request: Request, **values: Any) -> Team:
        return services.team_update(team=row, by=seat_of(request).role, **{"name": row.name, **values})


class MemberRow(Row):
    class Meta:
        model = Membership
        fields = ("id", "url", "display", "user", "role", "created")
        read_only_fields = ("user", "created")
        brief = ("id", "url", "display")
        display = ("user__username",)


class Members(Resource):
    """Members of the team and their roles. New ones come by invitation."""

    row, plural = MemberRow, "members"
    search, ordering = ("user__username", "user__email"), ("user",)
    capability, takes_request = "team.admin", True

    @staticmethod
    def update(row: Membership, request: Request, **values: Any) -> Membership:
        role = values.get("role", row.role)
        return services.member_set(team=row.team, user=row.user, role=role, by=seat_of(request).role)

    @staticmethod
    def delete(row: Membership, request: Request) -> None:
        services.member_remove(team=row.team, user=row.user, by=seat_of(request).role)


class InvitationRow(Row):
    class Meta:
        model = Invitation
        fields = ("id", "url", "display", "email", "role", "invited_by", "created", "expires")
        read_only_fields = ("invited_by", "created", "expires")
        brief = ("id", "url", "display")
        display = ("email",)


class Invitations(Resource):
    """Open invitations. POST sends the link by mail, and answers it this once as `link`."""

    row, plural = InvitationRow, "invitations"
    search, ordering = ("email",), ("-id",)
    reading = capability = "team.admin"
    takes_request = True

    @staticmethod
    def create(request: Request, **values: Any) -> Invitation:
        seat = seat_of(request)
        team, maker = _team(), User.objects.filter(pk=seat.user_id or 0).first()
        secret = services.invitation_create(team=team, invited_by=maker, by=seat.role, **values)
        invitation = Invitation.objects.get(email=values["email"].strip().lower())
        by = maker.get_username() if maker else seat.token_name
        link, _ = invitation_send(team=team.name, email=invitation.email, secret=secret, by=by)
        invitation.shown_once = {"link": link}  # type: ignore[attr-defined]
        return invitation

    @staticmethod
    def delete(row: Invitation, request: Request) -> None:
        services.invitation_withdraw(team=row.team, pk=row.pk, by=seat_of(request).role)


class TokenRow(Row):
    networks = serializers.ListField(child=serializers.CharField(max_length=50), required=False, max_length=50)

    class Meta:
        model = ApiToken
        fields = ("id", "url", "display", "name", "key", "role", "user", "networks", "created", "expires", "last_used")
        read_only_fields = ("key", "user", "created", "last_used")
        brief = ("id", "url", "display")


class Tokens(Resource):
    """API tokens. POST answers the whole token as `token`, this once."""

    row, plural = TokenRow, "tokens"
    search, ordering = ("name", "key"), ("-id",)
    reading = capability = "team.admin"
    takes_request = True

    @staticmethod
    def create(request: Request, **values: Any) -> ApiToken:
        seat = seat_of(request)
        maker = User.objects.filter(pk=seat.user_id or 0).first()
        made = services.token_create(team=_team(), user=maker, by=seat.role, **values)
        token = ApiToken.objects.get(key=made.partition(".")[0])
        token.shown_once = {"token": made}  # type: ignore[attr-defined]
        return token

    @staticmethod
    def delete(row: ApiToken, **_: Request) -> None:
        services.token_revoke(team=row.team, pk=row.pk)


def _team() -> Team:
    return Team.objects.get(pk=current_team_id())


RESOURCES = (Teams, Members, Invitations, Tokens)
