"""How often somebody may ask: counted by the minute in Valkey, over all processes."""

import time

import redis
from django.core.cache import cache


def seconds_to_wait(who: str, limit: int) -> float:
    """Count one request of `who`; 0 while there were at most `limit` this minute, else the seconds until the next.

    While Valkey is away nobody is held up.
    """
    minute, passed_s = divmod(time.time(), 60)
    key = f"rate.{who}.{int(minute)}"
    try:
        cache.add(key, 0, 120)
        return 60 - passed_s if cache.incr(key) > limit else 0
    except (redis.RedisError, ValueError):
        return 0
