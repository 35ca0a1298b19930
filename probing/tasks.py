"""What happens by the clock: silence is noticed, partitions are made."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from agents.services import agents_expire
from core.live import publish
from core.scope import team_scope
from probing.models import Path
from tenancy.models import Team

SILENT_S = 6
"""After so long without a word a path is unknown: longer than a gateway takes to restart."""
DAYS = range(-1, 4)


@shared_task
def mark_silent() -> int:
    """Paths that nothing is heard of become unknown, in every team; they are not down, and no incident is opened."""
    total = 0
    for team_id in Team.objects.values_list("pk", flat=True):
        with team_scope(team_id):
            total += _mark_silent(team_id)
    return total


def _mark_silent(team_id: int) -> int:
    agents_expire()
    now = timezone.now()
    silent = Path.objects.active().filter(Q(heard__lt=now - timedelta(seconds=SILENT_S)) | Q(heard=None))
    # A drain that holds these rows has just heard of them.
    rows = silent.exclude(state=Path.State.UNKNOWN).select_for_update(skip_locked=True, no_key=True)
    marked = Path.objects.filter(pk__in=[path.pk for path in rows.only("pk")]).update(
        state=Path.State.UNKNOWN, changed=now
    )
    if marked:
        publish(team_id, "paths")
    return int(marked)


@shared_task
def ensure_partitions() -> None:
    """PathMinute's partitions from yesterday to in three days. One transaction each: it locks the table."""
    from django.db import connection

    today = timezone.now().date()
    for day in DAYS:
        with connection.cursor() as cursor:
            cursor.execute("SELECT netops_partition_ensure(%s)", [today + timedelta(days=day)])
