"""Which process roles are up: each refreshes a key in Valkey, `/health/` reads them. Loads no Django models."""

import logging
import os
import threading
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    import redis

log = logging.getLogger("netops.roles")
LIFETIME_S = 15
EXPECTED = ("web", "gateway", "worker", "beat", "listener")


@cache
def _valkey() -> "redis.Redis":
    import redis

    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def beat_heart(role: str) -> None:
    """Say once that this process of `role` is up."""
    import redis

    try:
        _valkey().set(f"netops:role:{role}:{os.getpid()}", "up", ex=LIFETIME_S)
    except redis.RedisError as error:
        log.warning("the heartbeat of %s was not stored (%s)", role, type(error).__name__)


def keep_beating(role: str) -> None:
    """Beat for as long as this process lives."""

    def loop() -> None:
        while True:
            beat_heart(role)
            stop.wait(LIFETIME_S / 3)

    stop = threading.Event()
    threading.Thread(target=loop, name="heartbeat", daemon=True).start()


def processes() -> dict[str, int]:
    """How many processes of each expected role were seen lately; raises redis.RedisError where Valkey is away."""
    seen = Counter(key.decode().split(":")[2] for key in _valkey().scan_iter("netops:role:*", count=100))
    return {role: seen[role] for role in EXPECTED}


def missing() -> list[str]:
    """The expected roles that nobody has been seen in; raises redis.RedisError where Valkey is away."""
    return [role for role, count in processes().items() if not count]


def tasks_waiting() -> int:
    """How many nudges wait in Celery's queue; raises redis.RedisError where Valkey is away."""
    from celery import current_app

    return int(_valkey().llen(current_app.conf.task_default_queue))
