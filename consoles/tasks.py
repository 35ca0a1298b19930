"""What happens to consoles by the clock."""

from celery import shared_task

from consoles import forward, retention
from consoles.lines import lines_look
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


@shared_task
def take_lines() -> int:
    """Logs that grew are taken into lines, and lines forwarded; beat calls it every 5 s."""
    found = 0
    for team_id in Team.objects.order_by("id").values_list("pk", flat=True):
        with team_scope(team_id):
            found += lines_look()
            forward.look()
    return found


@shared_task
def drop_old() -> int:
    """Each hour: what is older than NETOPS_CONSOLE_KEEP_DAYS; returns how many files and folders went."""
    return retention.drop_old()
