"""Who serves an agent hears that something about it changed, who serves people what their team is told: one ear for a
whole process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings

from core import live

log = logging.getLogger("netops.gateway")

AGAIN_S = 5.0

_ears: dict[int, list[Callable[[], object]]] = {}
_team_ears: dict[int, list[Callable[[dict[str, Any]], object]]] = {}


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


@contextlib.contextmanager
def hearing_team(team_id: int, news: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """As `hearing`, of the messages to the open pages of a team (core.live)."""
    _team_ears.setdefault(team_id, []).append(news)
    try:
        yield
    finally:
        _team_ears[team_id].remove(news)
        if not _team_ears[team_id]:
            del _team_ears[team_id]


async def listen() -> None:
    """For all agents and teams, until cancelled."""
    from redis import RedisError
    from redis import asyncio as valkeys

    while True:
        try:
            async with (
                valkeys.Redis.from_url(settings.REDIS_URL, socket_timeout=None) as valkey,
                valkey.pubsub() as ear,
            ):
                await ear.psubscribe(live.channel(group("*")), live.channel(live.group("*")))
                async for message in ear.listen():
                    _heard(message)
        except (RedisError, OSError) as error:
            log.warning("nudges for agents are not heard (%s); links look by themselves", type(error).__name__)
        await asyncio.sleep(AGAIN_S)


def _heard(message: dict[str, Any]) -> None:
    where, _, number = message["channel"].decode().rpartition(".")
    if message["type"] != "pmessage" or not number.isdecimal():
        return
    if where == live.channel("agent"):
        for news in list(_ears.get(int(number), ())):
            news()
    elif ears := _team_ears.get(int(number)):
        from channels.layers import get_channel_layer

        layer: Any = get_channel_layer()
        told = layer.deserialize(message["data"])
        for hear in list(ears):
            hear(told)
