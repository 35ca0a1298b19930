"""What happens to agents by the clock."""

from datetime import datetime

import redis
from celery import shared_task
from django.core.cache import cache
from django.utils import timezone

from agents.watch import agents_watch
from core.live import publish
from core.scope import team_scope
from tenancy.models import Team

LISTENING = "netops.agents.listening"
PAUSE_S = 60
"""After so long without a sweep we count as having been down: silence until then says nothing of an agent."""


@shared_task
def watch() -> int:
    """Look after the agents of every team; beat calls it every 5 s."""
    try:
        since: datetime = cache.get(LISTENING) or timezone.now()
        cache.set(LISTENING, since, PAUSE_S)
    except redis.RedisError:
        return 0
    changed = 0
    for team_id in Team.objects.order_by("id").values_list("id", flat=True):
        with team_scope(team_id):
            if found := agents_watch(listening_since=since):
                publish(team_id, "agents")
                changed += found
    return changed
