"""A program's socket at one console port: as a browser's (viewers.py), but without cookie or Origin, for its ticket
says whose program it is. Instead of the port's bytes a program may ask for a listener (listeners.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import connection

from consoles import services
from consoles.listeners import MODES, Listener
from consoles.models import ConsolePort
from consoles.sessions import Ended, Refused, Session
from consoles.viewers import Gone, Viewer
from core.scope import team_scope
from pi_agent.lines import Settings
from tenancy.models import Seat, Team, User
from tenancy.roles import can
from tenancy.sockets import seat_now

P = ParamSpec("P")
T = TypeVar("T")


class Program(Viewer):
    async def _enter(self) -> Session:
        first = await self._first()
        secret, mode, start = first.get("ticket"), first.get("listen"), first.get("from")
        slug = self._scope["url_route"]["kwargs"]["slug"]
        found = await _in_thread(_spend, slug, self._pk(), secret[:100]) if isinstance(secret, str) else None
        if found is None:
            raise Ended("This ticket is not valid, or no longer: ask for another one.")
        seat, name, settings = found

        async def find() -> Seat | None:
            return await _in_thread(seat_now, team_id=seat.team_id, user_id=seat.user_id, token_id=seat.token_id)

        if mode is None:
            where = start if type(start) is int else None
            return Session(self._hub, seat, self._pk(), find, name=name, via="program", start=where)
        if mode not in MODES:
            raise Ended(f"listen: {str(mode)[:20]!r} is not one of {', '.join(MODES)}.")
        try:
            listener = Listener(self._hub, seat, self._pk(), find, name=name, mode=mode, settings=settings)
            await self._say({"type": "listening", **await listener.open()})
        except Refused as refusal:
            raise Ended(str(refusal)) from None
        await self._send({"type": "websocket.close"})
        raise Gone


def _spend(slug: str, port_id: int, secret: str) -> tuple[Seat, str, Settings] | None:
    """Whose ticket it was, what others see of them, and how the port is set."""
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        return None
    with team_scope(team.pk):
        who = services.program_ticket_spend(port_id=port_id, secret=secret)
        port = ConsolePort.objects.filter(pk=port_id).values_list("baud", "parity", "flow").first()
    seat = seat_now(team_id=team.pk, user_id=who[0], token_id=who[1]) if who else None
    if seat is None or port is None or not can(seat.role, "console.read"):
        return None
    user = User.objects.filter(pk=seat.user_id or 0).values_list("username", flat=True).first()
    name = ", ".join(filter(None, (user, seat.token_name and f"token {seat.token_name}")))
    return seat, name, Settings(*port)


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The pooled connection is given back."""

    def call() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(call)
