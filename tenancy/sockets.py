"""Who is behind a socket that stays open for hours."""

from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings

from tenancy.models import Seat


async def socket_seat(scope: Any) -> Seat | None:
    """The seat in the team of the URL as the database has it now, for the session as it is now."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    user = await get_user({"session": store(scope["session"].session_key)})
    seats = await database_sync_to_async(Seat.of_user)(user.pk or 0)
    slug = scope["url_route"]["kwargs"]["slug"]
    return next((seat for seat in seats if seat.slug == slug), None)
