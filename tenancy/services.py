"""Every write on teams, members, invitations and tokens.

`by` is the role of whoever does it; the operator, on the command line, counts as an owner.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from core.live import group, publish, send_to
from core.scope import team_scope
from tenancy.models import AdminVisit, ApiToken, Invitation, Membership, Team, User
from tenancy.roles import ROLES

INVITATION_LIFE = timedelta(days=7)
INVITATION_GONE = "This invitation is no longer good: ask for a new one."


@transaction.atomic
def team_create(*, slug: str, name: str) -> Team:
    team = Team(slug=slug, name=name)
    team.full_clean()
    team.save()
    return team


def team_update(*, team: Team, name: str, by: str) -> Team:
    """Give `team` another name; its slug stands in links and stays."""
    if by != "owner":
        raise ValidationError({"name": "Only an owner renames the team: ask one."})
    team.name = name.strip()
    team.full_clean()
    team.save(update_fields=["name"])
    return team


@transaction.atomic
def account_create(*, username: str, password: str, email: str) -> User:
    """A person who signs in with a password. The address counts as theirs once they confirm it."""
    user = User(username=username, email=email.lower())
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    user.set_password(password)
    user.full_clean()
    user.save()
    if user.email:
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=False)
    return user


def admin_visit(*, team: Team, user: User) -> AdminVisit:
    """A superuser chose `team` in the admin: its people find that in their trail."""
    with team_scope(team.pk):
        visit: AdminVisit = AdminVisit.objects.create(user=user)
        return visit


def member_set(*, team: Team, user: User, role: str, by: str = "owner") -> Membership:
    """Make `user` a member of `team` with `role`, or change the role."""
    _check_role(role, at_most=by)
    with team_scope(team.pk):
        owners = _owners()
        before = Membership.objects.filter(user=user).first()
        if before:
            _check_role(before.role, at_most=by)
            if before.role != role:
                _check_not_last(before, owners)
        membership, _ = Membership.objects.update_or_create(user=user, defaults={"role": role})
        _members_changed(team)
        return membership


def member_remove(*, team: Team, user: User, by: str = "owner") -> None:
    """Take `user` out of `team`; open pages of theirs are closed."""
    with team_scope(team.pk):
        owners = _owners()
        membership = Membership.objects.filter(user=user).first()
        if membership is None:
            raise ValidationError({"user": f"{user} is not a member of this team: reload the page."})
        _check_role(membership.role, at_most=by)
        _check_not_last(membership, owners)
        membership.delete()
        _members_changed(team)


def invitation_create(*, team: Team, email: str, role: str, invited_by: User | None, by: str = "owner") -> str:
    """Invite whoever opens the link within 7 days; its secret, which is seen only this once."""
    _check_role(role, at_most=by)
    email = email.strip().lower()
    with team_scope(team.pk):
        if Membership.objects.filter(user__email__iexact=email).exists():
            raise ValidationError({"email": f"{email} is a member already: change the role in the list."})
        if Invitation.objects.filter(email=email).exists():
            raise ValidationError({"email": f"{email} is invited already: send that invitation again or withdraw it."})
        secret = secrets.token_urlsafe(24)
        invitation = Invitation(email=email, role=role, invited_by=invited_by, expires=_invitation_end())
        invitation.digest = token_digest(secret)
        invitation.full_clean(exclude=["team"])
        invitation.save()
        publish(team.pk, "members")
        return secret


def invitation_renew(*, team: Team, pk: int, by: str = "owner") -> tuple[Invitation, str]:
    """A new link for an invitation, for 7 days from now; the old link is dead."""
    with team_scope(team.pk):
        invitation = _invitation(pk, by)
        secret = secrets.token_urlsafe(24)
        invitation.digest, invitation.expires = token_digest(secret), _invitation_end()
        invitation.save(update_fields=["digest", "expires"])
        return invitation, secret


def invitation_withdraw(*, team: Team, pk: int, by: str = "owner") -> None:
    with team_scope(team.pk):
        _invitation(pk, by).delete()
        publish(team.pk, "members")


def invitation_find(secret: str) -> tuple[int, int]:
    """Team and id of the open invitation with this secret: all that is known of it outside its team."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT team_id, invitation_id FROM netops_invitation(%s)", [token_digest(secret)])
        found: tuple[int, int] | None = cursor.fetchone()
    if found is None:
        raise ValidationError({"invitation": INVITATION_GONE})
    return found


def invitation_accept(*, secret: str, user: User) -> Team:
    """Make `user` a member as the invitation says, and spend it. Who is one already keeps the higher role."""
    team_id, pk = invitation_find(secret)
    with team_scope(team_id):
        # Of two that open one link at once, the second waits here and finds it spent.
        invitation = Invitation.objects.select_for_update().filter(pk=pk, digest=token_digest(secret)).first()
        if invitation is None:
            raise ValidationError({"invitation": INVITATION_GONE})
        before = Membership.objects.filter(user=user).first()
        if before is None or ROLES.index(before.role) < ROLES.index(invitation.role):
            member_set(team=invitation.team, user=user, role=invitation.role)
        invitation.delete()
        publish(team_id, "members")
        return invitation.team


def invitation_sign_up(*, secret: str, username: str, password: str) -> tuple[User, Team]:
    """An account for whoever holds the link, with the address it was sent to, and the membership."""
    team_id, pk = invitation_find(secret)
    with team_scope(team_id):
        email = Invitation.objects.values_list("email", flat=True).get(pk=pk)
        user = account_create(username=username, password=password, email=email)
        return user, invitation_accept(secret=secret, user=user)


def token_create(
    *,
    team: Team,
    role: str,
    name: str = "Token",
    user: User | None = None,
    networks: Sequence[str] = (),
    expires: datetime | None = None,
    by: str = "owner",
) -> str:
    """A new API token of `team`, as `key.secret`; this is the only time the secret is seen."""
    _check_role(role, at_most=by)
    key, secret = secrets.token_hex(6), secrets.token_urlsafe(24)
    with team_scope(team.pk):
        if user:
            own = Membership.objects.filter(user=user).values_list("role", flat=True).first()
            if own is None or ROLES.index(role) > ROLES.index(own):
                raise ValidationError({"role": f"A token can do at most what you can: you are {own or 'no member'}."})
        token = ApiToken(key=key, digest=token_digest(secret), role=role, name=name, user=user, expires=expires)
        token.networks = [network_text(each) for each in networks]
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


def token_revoke(*, team: Team, pk: int) -> None:
    with team_scope(team.pk):
        if not ApiToken.objects.filter(pk=pk).delete()[0]:
            raise ValidationError({"token": "This token is revoked already: reload the page."})
        send_to(group(team.pk), {"type": "members"})  # its sockets end at once


def network_text(text: str) -> str:
    """A network as it is kept; raises ValidationError."""
    try:
        return str(ip_network(str(text).strip(), strict=False))
    except ValueError:
        raise ValidationError({"networks": f"{text!r} is no network: write it as 192.0.2.0/24."}) from None


def token_digest(secret: str) -> str:
    return hmac.new(settings.TOKEN_PEPPER.encode(), secret.encode(), hashlib.sha256).hexdigest()


def _check_role(role: str, *, at_most: str = "owner") -> None:
    if role not in ROLES:
        raise ValidationError({"role": f"{role!r} is not a role: use one of {', '.join(ROLES)}."})
    if ROLES.index(role) > ROLES.index(at_most):
        raise ValidationError({"role": f"The role {role} is above yours ({at_most}): ask an owner."})


def _owners() -> list[int]:
    """The owners of the team in scope, locked: of two that leave at once one must stay."""
    return list(Membership.objects.select_for_update().filter(role="owner").order_by("pk").values_list("pk", flat=True))


def _check_not_last(membership: Membership, owners: list[int]) -> None:
    if owners == [membership.pk]:
        raise ValidationError({"role": f"{membership.user} is the last owner: make another member owner first."})


def _members_changed(team: Team) -> None:
    """Tell open pages, and have their sockets ask again who may be here."""
    publish(team.pk, "members")
    send_to(group(team.pk), {"type": "members"})


def _invitation(pk: int, by: str) -> Invitation:
    """One of the team in scope, locked, that the role `by` may touch."""
    invitation = Invitation.objects.select_for_update().filter(pk=pk).first()
    if invitation is None:
        raise ValidationError({"invitation": "This invitation is accepted or withdrawn: reload the page."})
    _check_role(invitation.role, at_most=by)
    return invitation


def _invitation_end() -> datetime:
    return timezone.now() + INVITATION_LIFE
