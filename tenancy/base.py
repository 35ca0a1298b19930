"""TeamModel, the base of every row that belongs to a team, and the manager that lets nobody see another's."""

from typing import Any, TypeVar

from django.db import models

from core.scope import current_team_id, is_unscoped

Row = TypeVar("Row", bound=models.Model)


class WrongTeam(RuntimeError):
    """A row of one team was to be deleted in the scope of another."""


class TeamManager(models.Manager[Row]):
    """Sees only the team in scope and refuses to work without one (design, idea 5)."""

    def get_queryset(self) -> models.QuerySet[Row]:
        rows = super().get_queryset()
        return rows if is_unscoped() else rows.filter(team_id=current_team_id())


class TeamModel(models.Model):
    """A row of one team. Row-level security and (team, id) foreign keys are added after migrate (netops/walls.py)."""

    team = models.ForeignKey(
        "tenancy.Team",
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

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's, which for a row that nothing points to does not ask the manager."""
        if not is_unscoped() and self.team_id != current_team_id():
            raise WrongTeam(f"{self._meta.label} {self.pk} is of team {self.team_id}, not of the team in scope.")
        return super().delete(*args, **kwargs)
