"""Everything that may happen to a console and the people at it, in any order, against a model: never two writers, never
a byte out of order or lost without a gap, never a stale fence accepted.

Real: the hub, its log, sessions, the lock's SQL, and the agent's consoles with their backlog. The link between them is
queues that a rule empties, in any order where it could be so; a cut loses what is in them.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agents.models import Agent
from agents.services import agent_create
from consoles import people
from consoles.hub import Hub
from consoles.models import ConsoleLock, ConsolePort
from consoles.selectors import Held
from consoles.sessions import Refused, Session
from core.scope import team_scope
from pi_agent import consoles as agents_end
from pi_agent.frames import CONSOLES, Frame, Type
from pi_agent.identity import Identity
from tenancy.models import Seat, Team

pytestmark = pytest.mark.django_db(transaction=True)

EXAMPLES, STEPS = (300, 60) if os.environ.get("NETOPS_LONG") else (20, 50)
LIMIT, WINDOW = 96, 48
ROLES = {"alice": "owner", "bob": "operator", "carol": "admin"}
ASKS = ("request", "grant", "refuse", "release", "take")
# As often as each stands here: what happens to people must leave them the time to do something.
PEOPLE = ("type",) * 5 + ("arrive",) * 4 + ("request",) * 2 + ASKS
AROUND = ("come",) * 2 + ("back", "go", "viewer", "admin", "cut", "agent", "gateway", "later")
BYTES = ("speak",) * 3 + ("carry",) * 4


class Tty:
    """pi_agent.tty.Tty without a device."""

    def __init__(self, name: str, on_bytes: Any, on_state: Any) -> None:
        self.trouble, self._on_bytes = "", on_bytes

    def use(self, device: str | None, settings: object) -> None: ...

    def wait(self, waiting: bool) -> None: ...

    def write(self, data: bytes) -> str:
        return ""

    def close(self) -> None: ...


class Wire:
    """agents.link.Link, as the hub sees it, and the agent's end of it."""

    _epochs = count(1)

    def __init__(self, hub: Hub, agent: Agent, consoles: agents_end.Consoles) -> None:
        self.team_id, self.agent_id, self.epoch = agent.team_id, agent.pk, next(self._epochs)
        self.up: deque[Frame] = deque()
        self.keys: list[tuple[Frame, asyncio.Future[None]]] = []
        self._hub, self.consoles = hub, consoles
        self._sending = asyncio.get_running_loop().create_task(consoles.run(self._send, WINDOW))

    async def _send(self, frame: Frame) -> None:
        self.up.append(frame)

    async def send(self, frame: Frame) -> None:
        """Of the hub. Keys wait for their turn on the wire, as where the agent does not take them at once."""
        if frame.stream == CONSOLES:
            self.consoles.receive(frame)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.keys.append((frame, waiting))
        await waiting

    def carry(self) -> None:
        """One frame of the agent's, and what the hub says to it."""
        if self.up and (answer := self._hub.receive(self, self.up.popleft())):  # type: ignore[arg-type]
            self.consoles.receive(answer)

    def cut(self) -> None:
        self._sending.cancel()
        for _, waiting in self.keys:
            waiting.set_exception(ConnectionResetError())
        self.keys.clear()
        self._hub.left(self)  # type: ignore[arg-type]


@dataclass(eq=False)
class Model:
    """`holder` is a key, also of somebody whose gateway is gone: `ghost`."""

    holder: str = ""
    ghost: bool = False
    asking: list[str] = field(default_factory=list)

    def gone(self, key: str) -> None:
        if key in self.asking:
            self.asking.remove(key)
        if key == self.holder:
            self.free()

    def free(self) -> None:
        self.holder, self.ghost = (self.asking.pop(0) if self.asking else ""), False

    def have(self, key: str) -> None:
        self.holder, self.ghost = key, False
        if key in self.asking:
            self.asking.remove(key)


class Consoles(RuleBasedStateMachine):
    wire: Wire
    agent: Agent
    team: Team

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        with team_scope(self.team.pk):
            self.port_id = ConsolePort.objects.create(agent=self.agent, name=f"/dev/tty{next(_names)}").pk
            ConsolePort.objects.exclude(pk=self.port_id).delete()
        self.model = Model()
        self.roles = dict(ROLES)
        self.here: dict[str, Session] = {}
        self.keys: dict[str, str] = {}
        self.said = b""
        self.accepted = self.refused = 0
        self.fence, self.held = 0, ""
        self.do(self._start())
        for name in ROLES:
            self._come(name, "")

    async def _start(self) -> None:
        self.hub, self.consoles = Hub(), agents_end.Consoles(LIMIT)
        await self._link(first=True)

    def do(self, work: Any) -> Any:
        """Run it, and what it set going, to its end."""

        async def all_of_it() -> Any:
            done = await work
            while tasks := self.port.people._tasks:
                await asyncio.wait(tasks)
            for _ in range(3):
                await asyncio.sleep(0)
            return done

        return self.loop.run_until_complete(all_of_it())

    @property
    def port(self) -> Any:
        return self.hub.port(self.team.pk, self.port_id)

    async def _link(self, first: bool = False) -> None:
        if not first:
            self.wire.cut()
        self.wire = Wire(self.hub, self.agent, self.consoles)
        await self.hub.plan(self.wire)  # type: ignore[arg-type]

    @rule(what=st.sampled_from(PEOPLE * 2 + AROUND + BYTES), number=st.integers(0, 11))
    def step(self, what: str, number: int) -> None:
        who = list(self.here.items())[number % len(self.here)] if self.here else None
        match what:
            case "come" | "back":
                if away := [name for name in ROLES if name not in self.here]:
                    name = away[number % len(away)]
                    self._come(name, self.keys[name] if what == "back" else "")
            case "speak":
                self.the_device_speaks(3 * number + 1)
            case "carry":
                self.the_link_carries(number % 4 + 1)
            case "arrive":
                if self.wire.keys:
                    self.keys_arrive(number)
            case "cut":
                self.do(self._link())
            case "agent":
                self.the_agent_starts_again()
            case "gateway":
                self.the_gateway_is_killed()
            case "later":
                self.half_a_minute_passes()
            case _ if who:
                self.somebody_does(what, *who)

    def somebody_does(self, what: str, name: str, session: Session) -> None:
        if what == "type":
            self.somebody_types(session)
        elif what == "go":
            self.somebody_goes(name, session)
        elif what in ASKS:
            self.somebody_asks(what, name, session)
        else:
            self.a_role_changes(what, name, session)

    # The agent and its device

    def the_device_speaks(self, length: int) -> None:
        words = b"".join(b"%05d " % next(_words) for _ in range(length))[:length]
        self.said += words

        async def speak() -> None:
            for port in self.consoles._ports.values():
                port.tty._on_bytes(words)

        self.do(speak())

    def the_link_carries(self, frames: int) -> None:
        async def carry() -> None:
            for _ in range(frames):
                self.wire.carry()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        self.do(carry())

    def the_agent_starts_again(self) -> None:
        async def again() -> None:
            self.consoles = agents_end.Consoles(LIMIT)
            await self._link()

        self.accepted = 0
        self.do(again())

    # People

    def _come(self, name: str, key: str) -> None:
        async def find() -> Seat:
            return Seat(self.team.pk, "red", "Red", self.roles[name], None)

        async def come() -> Session:
            session = Session(self.hub, await find(), self.port_id, find, name=name, via="browser", start=0, key=key)
            return await session.__aenter__()

        session = self.here[name] = self.do(come())
        self.keys[name] = session.key
        if self.model.ghost and self.model.holder == session.key and session.writes:
            self.model.ghost = False

    def somebody_goes(self, name: str, session: Session) -> None:
        del self.here[name]
        self.model.gone(session.key)
        self.do(session.__aexit__())

    def a_role_changes(self, role: str, name: str, session: Session) -> None:
        self.roles[name] = role
        if role == "viewer" and session.writes:
            self.model.gone(session.key)

        async def change() -> None:
            session._heard({"type": "members"})
            while session.seat.role != role:
                await asyncio.sleep(0.001)

        self.do(change())

    def somebody_asks(self, what: str, name: str, session: Session) -> None:
        model, key = self.model, session.key
        mine = model.holder == key
        first = next((each for each in model.asking), None)
        fine = session.writes
        match what:
            case "request":
                fine = fine and not (model.ghost and not mine)
                if fine and not model.holder:
                    model.have(key)
                elif fine and not mine and key not in model.asking:
                    model.asking.append(key)
            case "take":
                fine = fine and self.roles[name] in ("owner", "admin")
                if fine and not mine:
                    model.have(key)
            case "release":
                fine = fine and mine
                if fine:
                    model.free()
            case "grant" | "refuse":
                fine = fine and mine and first is not None
                if fine and what == "grant":
                    model.have(str(first))
                elif fine:
                    model.asking.remove(str(first))

        async def ask() -> bool:
            with suppress(Refused):
                await session.ask(what)
                return True
            return False

        assert self.do(ask()) == fine, (what, mine, model)

    def somebody_types(self, session: Session) -> None:
        fine = session.writes and self.model.holder in ("", session.key)
        before = len(self.wire.keys)

        async def type_() -> bool:
            typing = asyncio.ensure_future(session.type(b"!"))
            await asyncio.sleep(0)
            if typing.done():
                return not isinstance(typing.exception(), Refused)
            typing.add_done_callback(lambda done: done.cancelled() or done.exception())
            return True

        assert self.do(type_()) == fine, "somebody else has it, or nobody has"
        assert len(self.wire.keys) - before == fine
        if fine and self.model.holder:
            assert self.wire.keys[-1][0].offset == self._row().fence

    def keys_arrive(self, which: int) -> None:
        """The oldest or the newest: nothing on the way there waits in line."""
        frame, waiting = self.wire.keys.pop(-(which % 2))

        async def arrive() -> Frame | None:
            waiting.set_result(None)
            return self.consoles.receive(frame)

        refused = self.do(arrive())
        assert (refused is not None) == (frame.offset < self.accepted), "a stale fence, and no other, is refused"
        assert refused is None or refused.type is Type.ERROR
        self.refused += refused is not None
        self.accepted = max(self.accepted, frame.offset)

    # The gateway, the database

    def the_gateway_is_killed(self) -> None:
        async def die() -> None:
            for session in self.here.values():
                session._checking.cancel()
            self.port.log.sync()
            self.wire.cut()
            self.hub = Hub()
            await self._link()

        self.here.clear()
        self.model.ghost, self.model.asking = bool(self.model.holder), []
        self.do(die())

    def half_a_minute_passes(self) -> None:
        with team_scope(self.team.pk):
            ConsoleLock.objects.filter(port_id=self.port_id, until__isnull=False).update(until="2020-01-01T00:00Z")

        async def tick() -> None:
            self.port.people._look_at = 0
            self.port.people.tick()

        self.do(tick())
        if self.model.ghost:
            self.model.free()
            # Nobody was here to look: the one who comes next does.
            if not self.here:
                self.port.people.held = Held(self.port.people.held.fence)

    @invariant()
    def the_lock_is_the_models(self) -> None:
        known = self.port.people
        holder = known.holder.key if known.holder else ""
        assert holder == ("" if self.model.ghost else self.model.holder)
        assert [each.key for each in known._asking] == self.model.asking
        assert known.held.session == self.model.holder
        if row := self._row():
            new = self.model.holder not in ("", self.held)
            assert row.fence > self.fence if new else row.fence >= self.fence, "each holder has a higher fence"
            assert row.fence == known.held.fence
            self.fence, self.held = row.fence, self.model.holder or self.held
            if self.model.holder:
                assert row.session == self.model.holder

    @invariant()
    def every_byte_is_in_its_place(self) -> None:
        """What is in the log was said, in this order; where something is left out, it says so."""
        log, at = self.port.log, 0
        pieces: list[tuple[int, bytes]] = []
        while (found := log.read(at, 1 << 20))[1]:
            if pieces and found[0] == at:
                pieces[-1] = pieces[-1][0], pieces[-1][1] + found[1]
            else:
                pieces.append(found)
            at = found[0] + len(found[1])
        place = 0
        for _, data in pieces:
            found_at = self.said.find(data, place)
            assert found_at >= 0, "bytes out of order, or lost without a gap"
            place = found_at + len(data)
        for session in self.here.values():
            while session.place < self.port.end:
                offset, data = self.loop.run_until_complete(session.read(7))
                if data:
                    whole = next(each for each in pieces if each[0] <= offset < each[0] + len(each[1]))
                    assert whole[1][offset - whole[0] :].startswith(data)

    def _row(self) -> Any:
        with team_scope(self.team.pk):
            return ConsoleLock.objects.filter(port_id=self.port_id).first()

    def teardown(self) -> None:
        self.wire.cut()
        for each in list(self.here.items()):
            self.somebody_goes(*each)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        connection.close()


_names, _words = count(), count(10_000)


@pytest.fixture
def machine(team: Team, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[Consoles]:
    monkeypatch.setattr(agents_end, "Tty", Tty)
    monkeypatch.setattr(people, "TYPING_S", float("-inf"))  # nobody has to pause: time does not pass here
    settings.CONSOLE_STORE = tmp_path
    with team_scope(team.pk):
        Consoles.agent = agent_create(name="pi", public_key=Identity(Ed25519PrivateKey.generate()).public.hex())
    Consoles.team = team
    return Consoles


def test_whatever_happens_one_writes_and_nothing_is_lost(machine: type[Consoles]) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None),
    )


def test_keys_under_way_when_it_changes_hands_are_refused(machine: type[Consoles]) -> None:
    """The machine comes to this seldom: alice's keys are overtaken by those of bob, who has it alone meanwhile."""
    made, (newest, oldest) = machine(), (1, 0)
    for what, number in (("type", 0), ("request", 1), ("type", 1), ("arrive", newest), ("arrive", oldest)):
        made.step(what, number)
        made.the_lock_is_the_models()
    assert made.refused == 1
    made.teardown()
