"""Tasks of the inventory."""

from celery import shared_task

from core.scope import team_scope
from inventory.services import mark_stale
from tenancy.models import Team


@shared_task
def mark_stale_sources() -> int:
    """Look after the sources of every team; beat calls it every 5 s."""
    changed = 0
    for team_id in Team.objects.order_by("id").values_list("id", flat=True):
        with team_scope(team_id):
            changed += mark_stale()
    return changed
