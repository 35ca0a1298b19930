"""Tasks that serve every room."""

from celery import shared_task
from django.db import connection

from core import drain as drains
from core import roles
from core.scope import acting


@shared_task
def drain(name: str, team_id: int, key_id: int) -> int:
    with acting(door="task", name=name):
        return drains.get(name).run(team_id, key_id)


@shared_task
def sweep() -> int:
    """Nudge every key that has work waiting: whatever was lost on the way is found here within 5 s."""
    roles.beat_heart("beat")
    with connection.cursor() as cursor:
        cursor.execute("SELECT drain, team_id, key_id FROM netops_due_keys()")
        due = cursor.fetchall()
    for name, team_id, key_id in due:
        drains.nudge(name, team_id, key_id)
    return len(due)
