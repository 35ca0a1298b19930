"""Who serves an agent hears that something about it changed: its plans, its state. One ear for a whole process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from django.conf import settings

from core.live import channel

log = logging.getLogger("netops.gateway")

AGAIN_S = 5.0

_ears: dict[int, list[Callable[[], object]]] = {}


def group(agent_id: int | str) -> str:
    """For `core.live.send_to`."""
    return f"agent.{agent_id}"


@contextlib.contextmanager
def hearing(agent_id: int, news: Callable[[], object]) -> Iterator[None]:
    """`news` is called for each nudge that `listen` hears. Nudges may get lost: callers also look by themselves."""
    _ears.setdefault(agent_id, []).append(news)
    try:
        yield
    finally:
        _ears[agent_id].remove(news)
        if not _ears[agent_id]:
            del _ears[agent_id]


async def listen() -> None:
    """For all agents, until cancelled."""
    from redis import RedisError
    from redis import asyncio as valkeys

    while True:
        try:
            async with (
                valkeys.Redis.from_url(settings.REDIS_URL, socket_timeout=None) as valkey,
                valkey.pubsub() as ear,
            ):
                await ear.psubscribe(channel(group("*")))
                async for message in ear.listen():
                    agent_id = message["channel"].rpartition(b".")[2]
                    for news in _ears.get(int(agent_id) if agent_id.isdigit() else 0, ()):
                        news()
        except (RedisError, OSError) as error:
            log.warning("nudges for agents are not heard (%s); links look by themselves", type(error).__name__)
        await asyncio.sleep(AGAIN_S)
