"""Nudges to open pages: a group per team, a topic per kind of change. Pages fetch what they show again."""

import logging

from django.db import transaction

log = logging.getLogger("netops.live")


def group(team_id: int) -> str:
    return f"team.{team_id}"


def publish(team_id: int, topic: str) -> None:
    """Tell the open pages of a team, after commit, that something under `topic` changed."""
    send_to(group(team_id), {"type": "changed", "topic": topic})


def send_to(name: str, message: dict[str, str]) -> None:
    """Send a nudge to a channel group after commit; it may get lost, receivers poll as well."""

    def send() -> None:
        # Only processes that publish pay the half second that this import takes.
        import redis
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        layer = get_channel_layer()
        assert layer is not None
        try:
            async_to_sync(layer.group_send)(name, message)
        except (redis.RedisError, OSError) as error:
            log.warning("a nudge to %s was lost (%s)", name, type(error).__name__)

    transaction.on_commit(send)
