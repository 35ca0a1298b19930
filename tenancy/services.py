"""Every write on teams, members and tokens."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

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


def token_create(
    *,
    team: Team,
    role: str,
    name: str = "Token",
    user: User | None = None,
    networks: Sequence[str] = (),
    expires: datetime | None = None,
) -> str:
    """A new API token of `team`, as `key.secret`; this is the only time the secret is seen."""
    _check_role(role)
    key, secret = secrets.token_hex(6), secrets.token_urlsafe(24)
    with team_scope(team.pk):
        if user:
            own = Membership.objects.filter(user=user).values_list("role", flat=True).first()
            if own is None or ROLES.index(role) > ROLES.index(own):
                raise ValidationError({"role": f"A token can do at most what you can: you are {own or 'no member'}."})
        token = ApiToken(key=key, digest=token_digest(secret), role=role, name=name, user=user, expires=expires)
        token.networks = [_network(each) for each in networks]
        if expires and expires <= timezone.now():
            raise ValidationError({"expires": "This time has passed: give one to come, or none."})
        token.full_clean(exclude=["user"])
        token.save()
    return f"{key}.{secret}"


def token_used(*, token_id: int) -> None:
    """Note that a token was used, to the minute; the team is in scope."""
    now = timezone.now()
    stale = Q(last_used__isnull=True) | Q(last_used__lt=now - timedelta(minutes=1))
    ApiToken.objects.filter(stale, pk=token_id).update(last_used=now)


def address_allowed(address: str, networks: Sequence[str]) -> bool:
    """Whether a client's address is in one of the networks; always where there are none."""
    try:
        client = ip_address(address)
    except ValueError:  # a Unix socket has none
        return not networks
    client = getattr(client, "ipv4_mapped", None) or client
    return not networks or any(client in ip_network(each) for each in networks)


def _network(text: str) -> str:
    try:
        return str(ip_network(str(text).strip(), strict=False))
    except ValueError:
        raise ValidationError({"networks": f"{text!r} is no network: write it as 192.0.2.0/24."}) from None


def token_digest(secret: str) -> str:
    return hmac.new(settings.TOKEN_PEPPER.encode(), secret.encode(), hashlib.sha256).hexdigest()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValidationError({"role": f"{role!r} is not a role: use one of {', '.join(ROLES)}."})
