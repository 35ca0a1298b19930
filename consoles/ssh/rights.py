"""Who may come in by SSH and which consoles there are: asked of the database, and remembered while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import Error as DatabaseError
from django.db import OperationalError, connection

from consoles.selectors import Named, named_ports
from core.scope import team_scope
from tenancy import ssh
from tenancy.models import Seat
from tenancy.ssh import SshPerson

log = logging.getLogger("netops.consoles")

KEPT_S = 15 * 60.0
"""What was seen last counts for so long."""
LOOK_S = 60.0
ANSWER_S, AGAIN_S = 5.0, 2.0
"""After which the database counts as away, and is tried again."""
T = TypeVar("T")

# A database that is away holds a thread for ten seconds (the pool's patience): not one that others wait for.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ssh")


class Unknown(Exception):
    """The database is away, and what was seen of it is too old."""


@dataclass
class Seen:
    at: float = float("-inf")
    people: dict[str, SshPerson] = field(default_factory=dict)
    ports: dict[int, list[Named]] = field(default_factory=dict)


class Rights:
    def __init__(self) -> None:
        self._seen = Seen()
        self._away = asyncio.Event()

    async def keep(self) -> None:
        """For ever: see it all again, so that it is fresh when the database goes; and see when it is back."""
        while True:
            try:
                self._seen = await asyncio.get_running_loop().run_in_executor(_threads, _closing, _look)
                self._away.clear()
            except Exception as error:
                log.warning("who may come in by SSH is not looked at again (%s)", type(error).__name__)
                await asyncio.sleep(AGAIN_S)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._away.wait(), LOOK_S)

    async def person(self, name: str) -> SshPerson | None:
        """Raises Unknown."""
        try:
            found = await self.ask(lambda: ssh.ssh_people(username=name))
        except OperationalError:
            return self._kept().people.get(name)
        person = found[0] if found else None
        if person and person.keys:
            self._seen.people[name] = person
        else:
            self._seen.people.pop(name, None)
        return person

    async def ports(self, seat: Seat) -> list[Named]:
        """The consoles of a team. Raises Unknown."""
        try:
            found = await self.ask(lambda: _ports(seat.team_id))
        except OperationalError:
            return self._kept().ports.get(seat.team_id, [])
        self._seen.ports[seat.team_id] = found
        return found

    async def seat(self, name: str, team_id: int, fingerprint: str) -> Seat | None:
        """Where somebody sits who came with this key, or with a password (""). Raises OperationalError."""
        person = next(iter(await self.ask(lambda: ssh.ssh_people(username=name))), None)
        if person is None or (fingerprint and fingerprint not in person.keys):
            return None
        return next((seat for seat in person.seats if seat.team_id == team_id), None)

    async def ask(self, work: Callable[[], T]) -> T:
        """Raises OperationalError."""
        if self._away.is_set():
            raise OperationalError("the database is away")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await loop.run_in_executor(_threads, _closing, work)
        except (DatabaseError, TimeoutError) as error:
            self._away.set()
            raise OperationalError(str(error)) from None

    def _kept(self) -> Seen:
        if time.monotonic() - self._seen.at > KEPT_S:
            raise Unknown
        return self._seen


def _look() -> Seen:
    at = time.monotonic()
    people = {person.name: person for person in ssh.ssh_people()}
    teams = {seat.team_id for person in people.values() for seat in person.seats}
    return Seen(at, people, {team_id: _ports(team_id) for team_id in sorted(teams)})


def _ports(team_id: int) -> list[Named]:
    with team_scope(team_id):
        return named_ports()


def _closing(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connection.close()


def asked_for(ports: Iterable[Named], wanted: str) -> list[Named]:
    """Those of this name: title, device or number; in capitals or not, unless that tells them apart."""
    found = [port for port in ports if wanted in port.names]
    return found or [port for port in ports if wanted.lower() in [name.lower() for name in port.names]]
