"""Every write on teams, members and tokens."""

import hashlib
import hmac
import secrets

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from core.scope import team_scope
from tenancy.models import ApiToken, Membership, Team, User
from tenancy.roles import ROLES


@transaction.atomic
def team_create(*, slug: str, name: str) -> Team:
    team = Team(slug=slug, name=name)
    team.full_clean()
    team.save()
    return team


def member_set(*, team: Team, user: User, role: str) -> Membership:
    """Make `user` a member of `team` with `role`, or change the role."""
    _check_role(role)
    with team_scope(team.pk):
        membership, _ = Membership.objects.update_or_create(user=user, defaults={"role": role})
        return membership


def token_create(*, team: Team, role: str) -> str:
    """A new API token of `team`, as `key.secret`; this is the only time the secret is seen."""
    _check_role(role)
    key, secret = secrets.token_hex(6), secrets.token_urlsafe(24)
    with team_scope(team.pk):
        ApiToken.objects.create(key=key, digest=token_digest(secret), role=role)
    return f"{key}.{secret}"


def token_digest(secret: str) -> str:
    return hmac.new(settings.TOKEN_PEPPER.encode(), secret.encode(), hashlib.sha256).hexdigest()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValidationError({"role": f"{role!r} is not a role: use one of {', '.join(ROLES)}."})
