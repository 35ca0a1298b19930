"""Who is behind a socket that stays open for hours."""

from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings

from core.scope import team_scope
from tenancy.models import ApiToken, Seat


async def socket_seat(scope: Any) -> Seat | None:
    """The seat in the team of the URL as the database has it now, for the session as it is now."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    user = await get_user({"session": store(scope["session"].session_key)})
    seats = await database_sync_to_async(Seat.of_user)(user.pk or 0)
    slug = scope["url_route"]["kwargs"]["slug"]
    return next((seat for seat in seats if seat.slug == slug), None)


def seat_now(*, team_id: int, user_id: int | None, token_id: int | None) -> Seat | None:
    """The seat in the team, as the database has it now, of a token or else of a user."""
    if token_id is not None:
        with team_scope(team_id):
            proof = ApiToken.objects.filter(pk=token_id).values_list("key", "digest").first()
        return Seat.of_token(*proof) if proof else None
    return next((seat for seat in Seat.of_user(user_id or 0) if seat.team_id == team_id), None)
