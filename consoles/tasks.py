"""What happens to consoles by the clock."""

from celery import shared_task

from consoles.rules import rules_watch
from core.scope import team_scope
from tenancy.models import Team


@shared_task
def watch() -> int:
    """Resolve what has been quiet for long enough, in every team; beat calls it every 5 s."""
    changed = 0
    for team_id in Team.objects.order_by("id").values_list("id", flat=True):
        with team_scope(team_id):
            changed += rules_watch()
    return changed
