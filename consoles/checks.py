"""Whether consoles work, asked before the night they are needed; in the gateway, where their bytes are.

A test sends a newline and judges what comes back (prompts.py). It is put off while a newline could do harm: somebody
has the port or types, a line was begun, the device talks, or what it said last is a question. To detect a speed, the
agent is sent plans with one after the other; the one that is set comes back at the end.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from agents.link import in_thread
from consoles import check_services
from consoles.prompts import READABLE, Verdict, judge, question, readable
from consoles.selectors import Due, due_of, lines_of
from pi_agent.frames import Frame, Type

if TYPE_CHECKING:
    from agents.link import Link
    from consoles.hub import Hub, Port

log = logging.getLogger("netops.consoles")

TURN_S = 60.0
"""Between looks for what is due; what somebody asks for comes with a nudge."""
ANSWER_S = 3.0
"""For an answer to begin; it is asked for twice."""
QUIET_S = 0.5
"""Without another byte an answer is over."""
MOST_S = 10.0
MOST = 16 << 10
TYPED_S = 60.0
TALKED_S = 10.0
AT_ONCE = 8
"""Ports at a time."""
SPEEDS = (9600, 115200, 38400, 19200, 57600, 4800, 2400, 1200)
"""The usual ones, the most usual first."""
NEWLINE = b"\r"


class Checks:
    """Of all ports that are linked here. `news` is set when somebody may have asked for one."""

    def __init__(self, hub: Hub) -> None:
        self.news = asyncio.Event()
        self._hub = hub
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._at_work: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            self.news.clear()
            for team_id, ports in self._hub.linked().items():
                try:
                    due = await in_thread(team_id, due_of, ports=ports)
                except Exception as error:
                    log.warning("team %s: no look for console tests (%s)", team_id, type(error).__name__)
                    continue
                for each in due:
                    if each.port_id not in self._at_work:
                        work = self._work(self._hub.port(team_id, each.port_id), each)
                        self._at_work[each.port_id] = asyncio.create_task(work)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), TURN_S)

    async def _work(self, port: Port, due: Due) -> None:
        async with self._turns:
            try:
                await self._one(port, due)
            except Exception as error:
                log.warning("console port %s was not tested (%s)", port.port_id, type(error).__name__)
            finally:
                del self._at_work[port.port_id]

    async def _one(self, port: Port, due: Due) -> None:
        link = port.link
        if link is None or port.away:
            return  # it stays due
        if due.asked == "test":
            await _quiet(port)
        note: dict[str, Any] = {"port_id": port.port_id}
        if port.trouble and due.asked != "detect":
            verdict = Verdict("closed", f"The port {port.trouble}.")
            await in_thread(port.team_id, check_services.check_note, **note, verdict=verdict, modem={})
        elif reason := port.trouble or put_off(port, waits=due.asked != "detect"):
            await in_thread(port.team_id, check_services.check_put_off, **note, asked=due.asked, sentence=reason)
        elif due.asked == "detect":
            baud, sentence = await self._detect(link, port)
            await in_thread(port.team_id, check_services.detection_note, **note, baud=baud, sentence=sentence)
        else:
            verdict = await _test(link, port, due.device)
            await in_thread(port.team_id, check_services.check_note, **note, verdict=verdict, modem=port.modem)

    async def _detect(self, link: Link, port: Port) -> tuple[int | None, str]:
        """(the speed at which it answers in text, what to tell of it)."""
        lines = (await in_thread(port.team_id, lines_of, agents=[link.agent_id])).get(link.agent_id, [])
        here = next(line for line in lines if line.port_id == port.port_id)
        port.tell({"type": "told", "sentence": "The speed is being detected: what comes now may be garbage."})
        best: tuple[float, int, str] = (0.0, 0, "")
        try:
            for baud in dict.fromkeys((here.settings.baud, *SPEEDS)):
                tried = replace(here, settings=replace(here.settings, baud=baud))
                await self._hub.tell(link, [tried if line is here else line for line in lines])
                answer = await _answer(link, port, port.end)
                verdict = judge(answer)
                if verdict.result in ("ok", "loader"):
                    return baud, f"At {baud} baud: {verdict.sentence}"
                if verdict.result == "unknown":
                    best = max(best, (readable(answer), baud, verdict.sentence))
        finally:
            lines = (await in_thread(port.team_id, lines_of, agents=[link.agent_id])).get(link.agent_id, [])
            await self._hub.tell(link, lines)
        if best[0] > READABLE:
            return best[1], f"At {best[1]} baud {best[0]:.0%} of it can be read. {best[2]}"
        return None, f"No text came back at any of {len(SPEEDS)} speeds."


def put_off(port: Port, *, waits: bool = True) -> str:
    """Why no newline is sent now; empty where one may be. `waits`: also for what the device is saying."""
    now, held = monotonic(), port.held
    if held.session:
        return f"{held.who} has this console."
    if now - port.typed_at < TYPED_S:
        return "Somebody typed within the last minute."
    if port.begun:
        return "Somebody began a line there and did not end it."
    if waits and now - port.heard_at < TALKED_S:
        return "It was saying something just now."
    tail = port.read(max(0, port.end - MOST), MOST)
    if tail and (asked := question(tail[1])):
        return f"What it said last is a question, which a newline would answer: {asked}"
    return ""


async def _quiet(port: Port) -> None:
    """Wait, but not for ever, while the device talks."""
    end = monotonic() + 2 * TALKED_S
    while (now := monotonic()) < end and now - port.heard_at < TALKED_S:
        await asyncio.sleep(QUIET_S)


async def _test(link: Link, port: Port, device: str) -> Verdict:
    port.modem = {}
    if link.version > 4:
        await link.send(Frame(Type.MODEM, port.stream))
    start = port.end
    answer = await _answer(link, port, start) or await _answer(link, port, start)
    port.heard_at = float("-inf")  # it did not talk by itself
    return judge(answer, device)


async def _answer(link: Link, port: Port, start: int) -> bytes:
    """What comes after a newline, from `start` on; empty where nothing does."""
    ear = _Ear()
    port.viewers |= {ear}
    try:
        await link.send(Frame(Type.DATA, port.stream, port.held.fence, NEWLINE))
        with suppress(TimeoutError):
            async with asyncio.timeout(MOST_S):
                await asyncio.wait_for(ear.news.wait(), ANSWER_S)
                while True:
                    ear.news.clear()
                    await asyncio.wait_for(ear.news.wait(), QUIET_S)
    finally:
        port.viewers -= {ear}
    found = port.read(max(start, port.end - MOST), MOST)
    return found[1] if found else b""


class _Ear:
    """Hears that bytes came."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    def tell(self, message: dict[str, Any]) -> None:
        """Of no interest here."""
