"""Who is at a console port, who types, and who has it for themselves alone.

The lock is a leased row with a fence (models.py:ConsoleLock). The gateway that the agent is linked to holds it up while
its holder is here, and stamps everybody's keys with the fence. Without a database who has it keeps it: the port cannot
change hands, and another gateway has no link to the agent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError

from consoles import lock_services as services
from consoles.selectors import Held, locks_of

if TYPE_CHECKING:
    from consoles.sessions import Session

log = logging.getLogger("netops.consoles")

RENEW_S = 10.0
"""A third of the lease."""
TYPING_S = 5.0
"""For so long after a key somebody counts as typing."""
AWAY = (DatabaseError, OSError)


class Refused(Exception):
    """What was asked for is not done; the text is a sentence for whoever asked."""


def new_key() -> str:
    """By which a session has a port; told to nobody else."""
    return token_hex(16)


class People:
    """Of one port. From the gateway's event loop; what changes hands does so in turn."""

    def __init__(self, port_id: int) -> None:
        self.held = Held()
        """As far as known here."""
        self.holder: Session | None = None
        """None while writers share, or where it is held by somebody who is not at this gateway."""
        self._port_id = port_id
        self._here: list[Session] = []
        self._asking: list[Session] = []
        self._owed: list[Session] = []  # whose release is not in the database yet
        self._look_at = 0.0
        self._said: dict[str, Any] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, session: Session) -> None:
        """A browser that comes back under its old key is the one it was."""
        me = (session.key, session.seat.user_id)
        for older in [each for each in self._here if (each.key, each.seat.user_id) == me]:
            if self.holder is older:
                self.holder = session
            self._here.remove(older)
            older.end("You came back through another connection.")
        self._here.append(session)
        if self.held.session == session.key:
            self._spawn(partial(self._resume, session))
        self.say()

    def leave(self, session: Session) -> None:
        if session in self._here:
            self._here.remove(session)
            self.bar(session)

    def bar(self, session: Session) -> None:
        """It may not write any more."""
        if session in self._asking:
            self._asking.remove(session)
        if self.holder is session:
            self._free()
        self.say()

    def check(self, session: Session) -> int:
        """The fence for its keys; raises Refused where somebody else has the port."""
        if self.held.session and self.holder is not session:
            raise Refused(f"{self.held.who} has this console to themselves: nothing was sent.")
        return self.held.fence

    def typing(self, besides: Session | None = None) -> Session | None:
        """Somebody who types just now."""
        since = monotonic() - TYPING_S
        return next((each for each in self._here if each is not besides and each.typed > since), None)

    async def ask(self, session: Session, what: str) -> None:
        """`request`, `grant`, `refuse`, `release` or `take`; raises Refused. It is done also if the caller is gone."""
        asks = {
            "request": self._request,
            "grant": self._grant,
            "refuse": self._refuse,
            "release": self._release,
            "take": self._take,
        }
        if not session.writes:
            raise Refused("You may look on here, not type.")
        if what not in asks:
            raise Refused(f"Nobody can {what[:20]} a console: {', '.join(asks)} are what is understood.")
        await asyncio.shield(self._spawn(partial(asks[what], session)))

    def learn(self, held: Held) -> None:
        """What the database says; it may have said so before what is known here happened."""
        if held.fence < self.held.fence or (self.holder and held.session == self.holder.key):
            return
        self.holder = None
        self.held, self._look_at = held, monotonic() + held.left
        for session in [each for each in self._here if each.key == held.session]:
            self._spawn(partial(self._resume, session))
        self.say()

    def tick(self) -> None:
        """Each second."""
        if not self._here and not self._owed:
            return
        if monotonic() >= self._look_at and not self._turn.locked():
            self._look_at = monotonic() + RENEW_S
            if self.holder:
                self._spawn(partial(self._renew, self.holder))
            elif self._owed or self.held.session:
                self._spawn(self._look)
        self.say()

    def say(self) -> None:
        """Tell everybody here who does what, if that is another than before."""
        told = {
            "type": "people",
            "people": [
                {"n": each.number, "name": each.name, "via": each.via, "does": self._does(each)} for each in self._here
            ],
            "lock": {"n": self.holder.number if self.holder else 0, "who": self.held.who}
            if self.held.session
            else None,
            "asking": [each.number for each in self._asking],
        }
        if told != self._said:
            self._said = told
            for session in self._here:
                session.tell(told)

    def _does(self, session: Session) -> str:
        if session is self.holder:
            return "alone"
        if not session.writes or self.held.session:
            return "looking"
        return "typing" if session.typed > monotonic() - TYPING_S else "ready"

    async def _request(self, session: Session) -> None:
        holder = self.holder
        if holder is session:
            return
        if holder:
            if session not in self._asking:
                self._asking.append(session)
                holder.tell({"type": "told", "sentence": f"{session.name} asks for this console: grant or refuse it."})
                session.tell({"type": "told", "sentence": f"{holder.name} has it and was asked."})
        elif other := self.typing(besides=session):
            raise Refused(f"{other.name} is typing: ask again when they pause.")
        else:
            await self._claim(session, services.lock_claim)

    async def _take(self, session: Session) -> None:
        if not session.takes:
            raise Refused("Only admins and owners take a console over: request it.")
        holder, who = self.holder, self.held.who
        if holder is session:
            return
        await self._claim(session, services.lock_take)
        if holder:
            holder.tell({"type": "told", "sentence": f"{session.name} took this console over: you look on now."})
        if who:
            session.tell({"type": "told", "sentence": f"You took this console over from {who}."})

    async def _grant(self, session: Session) -> None:
        to = self._asked(session)
        await self._claim(to, partial(services.lock_take, of=session.key), by=session)
        to.tell({"type": "told", "sentence": f"{session.name} gave you this console."})

    async def _refuse(self, session: Session) -> None:
        to = self._asked(session)
        self._asking.remove(to)
        to.tell({"type": "refused", "sentence": f"{session.name} keeps this console."})

    async def _release(self, session: Session) -> None:
        if self.holder is not session:
            raise Refused("You do not have this console to yourself.")
        self._free()

    def _asked(self, session: Session) -> Session:
        """Who asks the holder for the port, first come first."""
        if self.holder is not session:
            raise Refused("You do not have this console to yourself.")
        if not self._asking:
            raise Refused("Nobody asks for this console.")
        return self._asking[0]

    async def _claim(self, to: Session, work: Callable[..., int | None], by: Session | None = None) -> None:
        """It has the port, or Refused says why not."""
        try:
            await self._settle()
            values: dict[str, Any] = {"session": to.key, "user_id": to.seat.user_id, "who": to.name}
            fence = await (by or to).in_thread(work, port_id=self._port_id, **values)
            if fence is None:
                self.learn(await self._row(to))
        except AWAY:
            raise Refused("The database is away: this console cannot change hands now.") from None
        if fence is None:
            raise Refused(f"{self.held.who or 'Somebody else'} has this console.")
        self.holder, self.held, self._look_at = to, Held(fence, to.key, to.name), monotonic() + RENEW_S
        if to in self._asking:
            self._asking.remove(to)
        if to not in self._here or not to.writes:  # gone while the database was asked
            self._free()

    async def _renew(self, session: Session) -> None:
        fence = await self._extend(session)
        if fence is None and self.holder is session:
            self.learn(await self._row(session))
            session.tell({"type": "told", "sentence": f"{self.held.who or 'Nobody'} has this console now."})

    async def _resume(self, session: Session) -> None:
        """Who had the port before the connection or the gateway went has it still."""
        if self.holder or session not in self._here or not session.writes:
            return
        fence = await self._extend(session)
        if fence is None:
            self.held = await self._row(session)
            return
        self.holder, self.held = session, Held(fence, session.key, session.name)
        if session not in self._here or not session.writes:
            self._free()

    async def _extend(self, session: Session) -> int | None:
        return await session.in_thread(
            services.lock_renew, port_id=self._port_id, session=session.key, user_id=session.seat.user_id
        )

    def _free(self) -> None:
        assert self.holder
        self._owed.append(self.holder)
        self.holder, self.held = None, Held(self.held.fence)
        self._spawn(self._look)

    async def _look(self) -> None:
        """What is owed to the database is paid; whoever asks first has the port next."""
        try:
            await self._settle()
            if self.held.session and not self.holder and self._here:
                self.learn(await self._row(self._here[0]))
        except AWAY:
            if not self.holder:  # no lease holds longer than the database that it is in
                self.held = Held(self.held.fence)
            raise
        if self._asking and not self.held.session:
            await self._claim(self._asking[0], services.lock_claim)

    async def _settle(self) -> None:
        while self._owed:
            await self._owed[0].in_thread(services.lock_release, port_id=self._port_id, session=self._owed[0].key)
            del self._owed[0]

    async def _row(self, session: Session) -> Held:
        rows = await session.in_thread(locks_of, port_ids=[self._port_id])
        return rows.get(self._port_id, Held())

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        async def in_turn() -> None:
            async with self._turn:
                try:
                    await work()
                finally:
                    self.say()

        return self.spawn(in_turn())

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """In the background, to its end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Refused):
            log.warning("the lock of console port %s: %s", self._port_id, type(error).__name__)
