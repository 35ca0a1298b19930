"""The `listener` role: a real ExaBGP for every enabled topology source of every team, its lines stored in order.

A run is one start of ExaBGP and at most one BGP session: a consumer that lost anything gets no replay, so whatever
breaks (ExaBGP, its helper, the session, we) ends the run, and the next one hears everything again.
"""

import asyncio
import ctypes
import logging
import os
import random
import re
import signal
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, InterfaceError

from core import outbound
from core.roles import keep_beating
from inventory.bgpls import adapter, exabgp, inbox
from inventory.bgpls.inbox import Source, in_database

log = logging.getLogger("netops.listener")

REREAD_S = 3.0
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.5, 15.0
UP_LIMIT_S, STEADY_S = 20.0, 30.0
HEARD_EVERY_S = 1.0
BATCH, BACKLOG = 500, 5000
MAX_LINE = 4 << 20

_TYPE = re.compile(r'\{ "exabgp": [^{}\[\]]{0,500}?"type": "(\w+)"')
_NOTIFICATION = re.compile(r"notification (?:sent|received) \((\d+),(\d+)\)")
_HINTS = {
    ("2", "2"): "check the local and the peer AS of the source",
    ("2", "3"): "give the source another router ID",
    ("2", "7"): "let the peer speak BGP-LS with us",
    ("6", "5"): "make us a neighbour of the peer",
}


class Lost(Exception):
    """A run is over; the text is one sentence for the user."""


def main() -> int:
    """Entry point of the role; Django is set up."""
    asyncio.run(_listen())
    return 0


async def _listen() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    Path(settings.DATA, "run").mkdir(mode=0o700, exist_ok=True)
    feeds: dict[Source, asyncio.Task[None]] = {}
    ready = False
    while not stop.is_set():
        with suppress(DatabaseError, InterfaceError):
            wanted = await in_database(inbox.enabled_sources)
            await _reconcile(feeds, wanted)
            if not ready:
                keep_beating("listener")
                ready = True
        await _within(REREAD_S, stop)
    await _reconcile(feeds, set())


async def _reconcile(feeds: dict[Source, asyncio.Task[None]], wanted: set[Source]) -> None:
    gone = [source for source, task in feeds.items() if source not in wanted or task.done()]
    for source in gone:
        feeds[source].cancel()
    # All at once: each may take a while to say goodbye to its peer.
    for ended in await asyncio.gather(*(feeds.pop(source) for source in gone), return_exceptions=True):
        if isinstance(ended, Exception):
            log.error("a source's task broke and starts again", exc_info=ended)
    for source in wanted - feeds.keys():
        feeds[source] = asyncio.create_task(_feed(source))


async def _feed(source: Source) -> None:
    """Runs for one source, for ever, with back-off."""
    backoff, told, reached = FIRST_BACKOFF_S, "", True
    while True:
        run, began = Run(source), asyncio.get_running_loop().time()
        try:
            await run.serve(probe_first=not reached)
        except (Lost, OSError) as lost:
            sentence = str(lost) if isinstance(lost, Lost) else f"ExaBGP cannot be started: {lost.strerror or lost}."
            if sentence != told:
                told = sentence
                log.warning("%s: %s", source, told)
            with suppress(DatabaseError, InterfaceError):
                await in_database(inbox.problem_set, source, told)
        except (DatabaseError, InterfaceError) as error:
            log.warning("%s: the database does not answer (%s)", source, type(error).__name__)
        if run.was_up:
            told = ""
        if asyncio.get_running_loop().time() - began > STEADY_S:
            backoff = FIRST_BACKOFF_S
        reached = run.was_up
        # Full jitter keeps many sources from calling one reflector together.
        await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311
        backoff = min(backoff * 2, LAST_BACKOFF_S)


class Run:
    """One start of ExaBGP."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.was_up = False
        self._number = 0
        self._peer = ""
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(BACKLOG)
        self._up = asyncio.Event()
        self._heard_out, self._exited = asyncio.Event(), asyncio.Event()
        self._heard = self._said = 0.0
        self._last_words = ""
        self._hearer: asyncio.Task[None] | None = None

    async def serve(self, *, probe_first: bool) -> None:
        """Until it is over; always ends with Lost or a database error."""
        source = self.source
        try:
            target = await asyncio.to_thread(outbound.resolve, source.host, source.port)
        except ValidationError as error:
            raise Lost(" ".join(error.messages)) from None
        self._peer = target.address
        if probe_first and not source.password:  # a peer with a password answers nobody without
            await self._probe()
        number = await in_database(inbox.run_begin, source)
        if number is None:
            raise Lost("The source was deleted.")
        self._number = number
        folder = Path(settings.DATA, "run")
        socket, file = (folder / f"bgpls-{source.id}.{end}" for end in ("sock", "conf"))
        socket.unlink(missing_ok=True)
        peer = exabgp.Peer(
            target.address, source.port, source.local_as, source.peer_as, source.router_id, source.hold_time_s,
            source.password,
        )  # fmt: skip
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(exabgp.config(peer, socket))
        server = await asyncio.start_unix_server(self._hear, socket, limit=MAX_LINE)
        process = await asyncio.create_subprocess_exec(
            *exabgp.command(file),
            env=exabgp.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=partial(_die_with, os.getpid()),
        )
        try:
            await self._until_over(process)
        finally:
            server.close()
            await _end(process)
            if self._hearer:
                self._hearer.cancel()
            for path in (socket, file):
                path.unlink(missing_ok=True)

    async def _until_over(self, process: asyncio.subprocess.Process) -> None:
        tasks = [asyncio.create_task(each) for each in (self._store(), self._watch(process), self._limit())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _without_password(self, text: str) -> str:
        """ExaBGP quotes lines of its configuration that it does not like."""
        for told in (exabgp.coded(self.source.password), self.source.password):
            text = text.replace(told, "…") if told else text
        return text

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """What ExaBGP itself writes is about what is wrong with it."""
        assert process.stdout
        last = ""
        while line := await process.stdout.readline():
            text = self._without_password(adapter.clean(line.decode(errors="replace"), 200))
            last = text if text and not text.startswith("advice") else last
            log.debug("%s: exabgp: %s", self.source, text)
        status = await process.wait()
        self._last_words = f"ExaBGP ended with {status}{': ' if last else ''}{last}."
        self._exited.set()
        # What its helper still had to say comes first.
        await _within(1, self._heard_out)
        await self._lines.put(None)
        await asyncio.Future()

    async def _limit(self) -> None:
        if not await _within(UP_LIMIT_S, self._up):
            raise await self._why("")
        await asyncio.Future()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the helper that ExaBGP started."""
        self._hearer = asyncio.current_task()
        # At the end of our own run; asyncio's streams would print it.
        with suppress(asyncio.CancelledError), closing(writer):
            await self._read(reader)
            self._heard_out.set()
            # Where ExaBGP ended too, its status is the better reason.
            await _within(1, self._exited)
            await self._lines.put(None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """The helper's lines, as they come, into the queue."""
        try:
            while line := await reader.readline():
                await self._lines.put(line.decode(errors="replace").strip().replace("\0", ""))
        except (ValueError, OSError):
            self._last_words = f"ExaBGP said a line of over {MAX_LINE} bytes, or its helper broke."

    async def _store(self) -> None:
        """Lines into rows, in order, a batch at a time; a database that is away holds ExaBGP up, and then the peer."""
        over: Lost | None = None
        while over is None:
            batch: list[str] = []
            line = await self._lines.get()
            while True:
                if line is None:
                    over = Lost(self._last_words or "ExaBGP's helper ended.")
                else:
                    over = await self._judge(line, batch)
                if over or len(batch) >= BATCH or self._lines.empty():
                    break
                line = self._lines.get_nowait()
            await self._save(batch)
        raise over

    async def _judge(self, line: str, batch: list[str]) -> Lost | None:
        """Keep a line in `batch` if it is worth a row; Lost once the session is over."""
        match = _TYPE.match(line)
        kind = match[1] if match else ""
        if kind in ("update", "keepalive"):
            self._heard = asyncio.get_running_loop().time()
        if kind == "update":
            batch.append(line)
        if kind != "state":
            return None
        for event in adapter.parse(line)[0]:
            if isinstance(event, adapter.SessionUp):
                self.was_up = True
                self._up.set()
                self._heard = asyncio.get_running_loop().time()
                batch.append(line)
            elif isinstance(event, adapter.SessionDown):
                if self.was_up:
                    batch.append(line)
                return await self._why(event.reason)
        return None

    async def _save(self, batch: list[str]) -> None:
        while True:
            try:
                if batch:
                    await in_database(inbox.lines_store, self.source, self._number, batch)
                    batch = []
                await self._tell_heard()
                return
            except IntegrityError:
                raise Lost("The source was deleted.") from None
            except (DatabaseError, InterfaceError) as error:
                log.warning("%s: lines wait, the database does not answer (%s)", self.source, type(error).__name__)
                await asyncio.sleep(1)

    async def _tell_heard(self) -> None:
        if self._heard < self._said + HEARD_EVERY_S:
            return
        self._said = asyncio.get_running_loop().time()
        if not await in_database(inbox.heard_set, self.source, self._number):
            await asyncio.sleep(LAST_BACKOFF_S)
            raise Lost("Another listener has taken this source over: run one listener only.")

    async def _why(self, reason: str) -> Lost:
        """Why there is no session (any more)."""
        if self.was_up:
            return Lost(f"The session with {self._peer} was lost: {reason or 'no reason given'}.")
        if match := _NOTIFICATION.search(reason):
            hint = _HINTS.get((match[1], match[2]), "check the BGP settings on both sides")
            return Lost(f"{self.source.host} refused the session ({reason}): {hint}.")
        try:
            await self._probe()
        except Lost as lost:
            return lost
        where = f"{self.source.host} port {self.source.port}"
        return Lost(f"{where} accepts connections but not our BGP session: make us a neighbour of the peer.")

    async def _probe(self) -> None:
        """Raises Lost where nothing accepts connections."""
        where = f"{self.source.host} port {self.source.port}"
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(self._peer, self.source.port), 5)
        except TimeoutError:
            raise Lost(f"{where} does not answer: check the address and the firewalls on the way.") from None
        except ConnectionRefusedError:
            raise Lost(f"{where} refuses connections: start the BGP speaker there or correct the port.") from None
        except OSError as error:
            raise Lost(f"{where} cannot be reached: {os.strerror(error.errno or 0)}.") from None
        writer.close()


def _die_with(parent: int) -> None:
    """In the child: end when the listener does, however it ends."""
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


_libc = ctypes.CDLL(None)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Wait for an event; whether it came in time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM lets ExaBGP say goodbye to its peer."""
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 2)
    if process.returncode is None:
        process.kill()
        await process.wait()
