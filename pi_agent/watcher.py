"""Notices what is plugged in and out, and interfaces that change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pi_agent.registration import Registration

log = logging.getLogger("pi_agent.watcher")

PERIOD_S = 1.0
SETTLE_S = 0.3
"""A port is there before udev has made the link that gives its stable name: a change counts once it holds so long."""
LOOKS = 3
"""At most so many looks wait for that, lest something that never settles hides everything else."""


class Watcher:
    """Looks each second, and calls `changed` within two when ports, interfaces or the hostname are not what they were.

    `changed` is called in the event loop, at once with what there is at the start.
    """

    def __init__(self, look: Callable[[], Registration], changed: Callable[[Registration], None]) -> None:
        self._look = look
        self._changed = changed
        self._told: object = None

    async def run(self) -> None:
        """For ever; a look that fails is logged once for each reason."""
        trouble = ""
        while True:
            try:
                await self._once()
                trouble = ""
            except OSError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("cannot look at this machine: %s", trouble)
            await asyncio.sleep(PERIOD_S)

    async def _once(self) -> None:
        seen = self._look()
        if _what(seen) == self._told:
            return
        for _ in range(LOOKS):
            await asyncio.sleep(SETTLE_S)
            again, seen = seen, self._look()
            if _what(again) == _what(seen):
                break
        if _what(seen) != self._told:
            self._told = _what(seen)
            self._changed(seen)


def _what(registration: Registration) -> object:
    """Of what a registration says, what changes without a restart and matters."""
    return registration.hostname, registration.interfaces, registration.ports
