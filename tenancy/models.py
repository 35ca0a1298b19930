"""Teams, their members, invitations and tokens."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import connection, models
from django.utils import timezone

from tenancy.audit import tracked
from tenancy.base import TeamManager, TeamModel
from tenancy.roles import ROLES

__all__ = [
    "AdminVisit", "ApiToken", "Invitation", "Membership", "Seat", "SshKey", "SshKeyChange", "SshPassword", "Team",
    "TeamManager", "TeamModel", "User",
]  # fmt: skip
_ROLES = [(role, role.capitalize()) for role in ROLES]


class User(AbstractUser):
    """A person. What they may do is said by their memberships."""


class Team(models.Model):
    """One tenant. Its slug stands in every page's URL, so it is unique across the installation."""

    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z][a-z0-9-]*$", "Use lower-case letters, digits and hyphens.")],
    )
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


@tracked()
class Membership(TeamModel):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=_ROLES)
    created = models.DateTimeField(default=timezone.now, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


@tracked(exclude=["digest"])
class Invitation(TeamModel):
    """A link sent by e-mail that makes whoever opens it a member. Spent or withdrawn, the row is gone."""

    email = models.EmailField()
    role = models.CharField(max_length=10, choices=_ROLES)
    digest = models.CharField(max_length=64, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "email"], name="invitation_email")]

    def __str__(self) -> str:
        return self.email


@tracked(exclude=["digest", "last_used"])
class ApiToken(TeamModel):
    """`key.secret`: the key finds the row, the secret is kept only as an HMAC under the server's pepper.

    It can do what its role can, and never more than the role its maker has now; one without a maker was made by
    `manage.py apitoken`. `networks` is a list of CIDR texts it may be used from, empty for everywhere.
    """

    name = models.CharField(max_length=60, default="Token")
    key = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    role = models.CharField(max_length=10, choices=_ROLES)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, editable=False, related_name="+")
    networks = models.JSONField(default=list, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)
    last_used = models.DateTimeField(null=True, editable=False)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "key"], name="apitoken_key")]

    def __str__(self) -> str:
        return self.name


@tracked()
class AdminVisit(TeamModel):
    """A superuser chose this team in /admin/: its people see that in their audit trail."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.user}"


class SshKey(models.Model):
    """A person's public key at the SSH door, known by its fingerprint alone; `kind` is what people call it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=40, editable=False)
    fingerprint = models.CharField(max_length=50, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "fingerprint"], name="sshkey_once")]

    def __str__(self) -> str:
        return self.name


class SshPassword(models.Model):
    """Lets one person through the SSH door once, soon. Kept as a digest."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    expires = models.DateTimeField()


@tracked()
class SshKeyChange(TeamModel):
    """A member's SSH key came or went: keys are a person's, and the audit trail is of each team that they open."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    change = models.CharField(max_length=10, choices=[("added", "Added"), ("removed", "Removed")])
    key = models.CharField(max_length=160)

    class Meta(TeamModel.Meta):
        verbose_name = "SSH key"

    def __str__(self) -> str:
        return f"{self.user}"


@dataclass(frozen=True)
class Seat:
    """Where a request sits: a team, the role it has there, and who sits: a user, a token, or a user's token."""

    team_id: int
    slug: str
    name: str
    role: str
    user_id: int | None = None
    token_id: int | None = None
    token_name: str = ""
    networks: tuple[str, ...] = ()

    @classmethod
    def of_user(cls, user_id: int) -> list[Self]:
        """Every team a user is a member of, by name."""
        return cls.of_users([user_id]).get(user_id, [])

    @classmethod
    def of_users(cls, user_ids: Iterable[int]) -> dict[int, list[Self]]:
        """The same of each of several, who may have none."""
        found: dict[int, list[Self]] = {}
        wanted = (
            "SELECT u.id, t.* FROM unnest(%s::bigint[]) u (id) CROSS JOIN LATERAL netops_user_teams(u.id) t"
            " ORDER BY t.name"
        )
        for user_id, team_id, slug, name, role in cls._query(wanted, [*user_ids]):
            found.setdefault(user_id, []).append(cls(team_id, slug, name, role, user_id))
        return found

    @classmethod
    def of_token(cls, key: str, digest: str) -> Self | None:
        """The seat of an API token, with its role of now."""
        rows = cls._query("SELECT * FROM netops_token(%s, %s)", key, digest)
        for *who, networks in rows:
            return cls(*who, tuple(json.loads(networks)))  # type: ignore[call-arg]
        return None

    @staticmethod
    def _query(sql: str, *parameters: int | str | list[int]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())
