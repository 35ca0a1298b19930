"""Teams, their members and tokens, and TeamModel, the base of every row that belongs to a team."""

from dataclasses import dataclass
from typing import Self, TypeVar

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import connection, models

from core.scope import current_team_id
from tenancy.roles import ROLES

Row = TypeVar("Row", bound=models.Model)


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


class TeamManager(models.Manager[Row]):
    """Sees only the team in scope and refuses to work without one (design, idea 5)."""

    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().filter(team_id=current_team_id())


class TeamModel(models.Model):
    """A row of one team. Row-level security and (team, id) foreign keys are added after migrate (netops/walls.py)."""

    team = models.ForeignKey(
        Team,
        on_delete=models.CASCADE,
        default=current_team_id,
        editable=False,
        related_name="+",
        db_index=False,
    )

    objects = TeamManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"


class Membership(TeamModel):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=[(role, role) for role in ROLES])

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="membership_once")]


class ApiToken(TeamModel):
    """`key.secret`: the key finds the row, the secret is kept only as an HMAC under the server's pepper."""

    key = models.CharField(max_length=16)
    digest = models.CharField(max_length=64)
    role = models.CharField(max_length=10, choices=[(role, role) for role in ROLES])
    created = models.DateTimeField(auto_now_add=True)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "key"], name="apitoken_key")]


@dataclass(frozen=True)
class Seat:
    """Where a request sits: a team and the role it has there."""

    team_id: int
    slug: str
    name: str
    role: str

    @classmethod
    def of_user(cls, user_id: int) -> list[Self]:
        """Every team a user is a member of, by name."""
        return cls._query("SELECT team_id, slug, name, role FROM netops_user_teams(%s)", user_id)

    @classmethod
    def of_token(cls, key: str, digest: str) -> list[Self]:
        return cls._query("SELECT team_id, slug, name, role FROM netops_token(%s, %s)", key, digest)

    @classmethod
    def _query(cls, sql: str, *parameters: int | str) -> list[Self]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return [cls(*row) for row in cursor.fetchall()]
