"""Nudges to open pages: a group per team, a topic per kind of change. Pages fetch what they show again."""

import logging
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

if TYPE_CHECKING:
    import redis

log = logging.getLogger("netops.live")


def group(team_id: int | str) -> str:
    return f"team.{team_id}"


def publish(team_id: int, topic: str) -> None:
    """Tell the open pages of a team, after commit, that something under `topic` changed."""
    send_to(group(team_id), {"type": "changed", "topic": topic})


def channel(name: str) -> str:
    """Valkey's, of a group: as channels_redis.pubsub names it."""
    return f"{settings.CHANNEL_PREFIX}__group__{name}"


@cache
def _valkey() -> "redis.Redis":
    import redis

    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)


def send_to(name: str, message: dict[str, str]) -> None:
    """Send a nudge to a channel group after commit; it may get lost, receivers poll as well."""

    def send() -> None:
        # Only processes that publish pay the half second that this import takes.
        import redis
        from channels.layers import get_channel_layer

        layer = get_channel_layer()
        assert layer is not None
        # The layer's own group_send would be a loop and a connection each time: 10 ms instead of a fraction of one.
        try:
            _valkey().publish(channel(name), layer.serialize(message))
        except (redis.RedisError, OSError) as error:
            log.warning("a nudge to %s was lost (%s)", name, type(error).__name__)

    transaction.on_commit(send)
