"""Agents without a link: signed reports by HTTPS that say what machine this is, and that it is there."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from pi_agent.enrolment import (
    BOOT_HEADER,
    COUNTER_HEADER,
    HEARTBEAT_PATH,
    KEY_HEADER,
    REGISTER_PATH,
    SIGNATURE_HEADER,
    report_message,
)
from pi_agent.fields import Fields, FrameError
from pi_agent.frames import TunnelTerms
from pi_agent.identity import Signer
from pi_agent.link import boot_id
from pi_agent.post import PostError, post
from pi_agent.registration import Registration
from pi_agent.state import Status, boot_clock_ns

log = logging.getLogger("pi_agent.reports")

INTERVAL_S = 60
"""Until the server names another one."""
UNKNOWN = 401
"""How the server answers who is not enrolled."""
RETRY_S = 15.0
"""At most so long after a failure; less by chance, lest a thousand agents come back at once."""

Post = Callable[[str, str, bytes, bytes | None, dict[str, str]], object]


class Reporter:
    """Reports changes at once and life signs each interval. Where one fails, the log and the status say why."""

    def __init__(
        self,
        server: str,
        pin: bytes | None,
        identity: Signer,
        status: Status | None = None,
        send: Post = post,
        on_known: Callable[[bool], None] = lambda _: None,
        on_tunnel: Callable[[TunnelTerms], None] | None = None,
    ) -> None:
        """`on_known` is told whether the server knows the key; `on_tunnel`, with each registration, where a tunnel may
        be opened."""
        self.interval_s = INTERVAL_S
        self._server = server
        self._pin = pin
        self._identity = identity
        self._status = status or Status()
        self._send = send
        self._on_known = on_known
        self._on_tunnel = on_tunnel
        self._counter = 0
        self._registration: bytes | None = None
        self._news = asyncio.Event()

    def register(self, registration: Registration) -> None:
        """To be told next; from the event loop's thread."""
        self._registration = registration.to_json()
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        await self._news.wait()
        while True:
            wait = await self._report()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _report(self) -> float:
        """Send what is due; returns the seconds until the next one."""
        self._news.clear()
        due = self._registration
        path, body = (HEARTBEAT_PATH, b"{}") if due is None else (REGISTER_PATH, due)
        try:
            answer = await asyncio.to_thread(self._send, self._server, path, body, self._pin, self.headers(path, body))
            fields = Fields(answer, "the server's answer")
            self.interval_s = fields.integer("interval", 1, 86400)
            if due and self._on_tunnel:
                self._on_tunnel(TunnelTerms.read(fields))
        except (PostError, FrameError) as error:
            log.warning("report to %s: %s", self._server, error)
            self._status.down(str(error))
            if isinstance(error, PostError) and error.status == UNKNOWN:
                self._on_known(False)
            return random.uniform(1, RETRY_S)  # noqa: S311
        if self._registration is due:
            self._registration = None
        self._on_known(True)
        if self._status.since is None:
            self._status.up(self._status.agent)
        return self.interval_s

    def headers(self, path: str, body: bytes) -> dict[str, str]:
        """The counter is the time since boot in nanoseconds: it grows over restarts with no file to lose or to wear."""
        self._counter = max(self._counter + 1, boot_clock_ns())
        return signed_headers(self._identity, path, self._counter, body)


def signed_headers(identity: Signer, path: str, counter: int, body: bytes) -> dict[str, str]:
    """The head of one report of this boot; `counter`: above that of every report before."""
    boot = boot_id()
    return {
        KEY_HEADER: identity.public.hex(),
        BOOT_HEADER: str(boot),
        COUNTER_HEADER: str(counter),
        SIGNATURE_HEADER: identity.sign(report_message(path, boot, counter, body)).hex(),
    }
