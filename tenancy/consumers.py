"""The small socket of an open page: it is told which topics changed in its team, and fetches for itself."""

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from core.live import group
from tenancy.models import Seat


class TeamEvents(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends {"topic": …}; reads nothing. Closed with 4404 for everyone who is not a member of the team."""

    name: str | None = None

    async def connect(self) -> None:
        user = self.scope["user"]
        slug = self.scope["url_route"]["kwargs"]["slug"]
        seats = await database_sync_to_async(Seat.of_user)(user.pk or 0)
        mine = [seat for seat in seats if seat.slug == slug]
        await self.accept()
        if not mine:
            await self.close(4404)
            return
        self.name = group(mine[0].team_id)
        await self.channel_layer.group_add(self.name, self.channel_name)

    async def disconnect(self, code: int) -> None:
        if self.name:
            await self.channel_layer.group_discard(self.name, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """What a page sends is of no interest."""

    async def changed(self, event: dict[str, str]) -> None:
        await self.send_json({"topic": event["topic"]})
