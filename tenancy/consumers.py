"""The small socket of an open page: it is told which topics changed in its team, and fetches for itself."""

import asyncio
from contextlib import suppress
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import OperationalError

from core.live import group
from tenancy.models import Seat
from tenancy.sockets import socket_seat

# A nudge may get lost: whoever lost the seat or the session is out within this time.
RECHECK_S = 50.0


class TeamEvents(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends {"topic": …}; reads nothing. Closed with 4404 for whoever is not, or no longer, a member of the team.

    Closed with 1013, try again later, while the database does not say who that is.
    """

    name: str | None = None
    checks: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        seat = await self._seat_or_close()
        if seat is None:
            return
        self.name = group(seat.team_id)
        await self.channel_layer.group_add(self.name, self.channel_name)
        self.checks = asyncio.create_task(self._keep_checking())

    async def disconnect(self, code: int) -> None:
        if self.checks:
            self.checks.cancel()
            with suppress(asyncio.CancelledError):
                await self.checks
        if self.name:
            await self.channel_layer.group_discard(self.name, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """What a page sends is of no interest."""

    async def changed(self, event: dict[str, str]) -> None:
        await self.send_json({"topic": event["topic"]})

    async def members(self, event: dict[str, str]) -> None:
        """Somebody came, went or has another role."""
        await self._seat_or_close()

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            await self.members({})

    async def _seat_or_close(self) -> Seat | None:
        try:
            seat, code = await socket_seat(self.scope), 4404
        except OperationalError:
            seat, code = None, 1013
        if not self.name:
            # Only what was accepted can be closed with a code that the page sees.
            await self.accept()
        if seat is None:
            await self.close(code)
        return seat
