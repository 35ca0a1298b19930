"""Who serves an agent hears that something about it changed: its plans, its state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from channels.layers import get_channel_layer

log = logging.getLogger("netops.gateway")

AGAIN_S = 5.0


async def hear(agent_id: int, news: Callable[[], object]) -> None:
    """Calls `news` for each nudge, and once whenever it listens again, until cancelled. Nudges may get lost: callers
    also look by themselves."""
    layer = get_channel_layer()
    assert layer is not None
    group = f"agent.{agent_id}"
    while True:
        channel = ""
        try:
            channel = await layer.new_channel()
            await layer.group_add(group, channel)
            news()
            while True:
                await layer.receive(channel)
                news()
        except Exception as error:
            log.warning("nudges for agent %s are not heard (%s); it is polled", agent_id, type(error).__name__)
            await asyncio.sleep(AGAIN_S)
        finally:
            if channel:
                with contextlib.suppress(Exception):
                    await layer.group_discard(group, channel)
