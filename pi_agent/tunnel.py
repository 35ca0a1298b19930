"""A port on the server's loopback that leads to this machine's sshd, kept open by asyncssh (the extra `tunnel`)."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pi_agent.identity import Signer

if TYPE_CHECKING:
    from pi_agent.frames import TunnelTerms

log = logging.getLogger("pi_agent.tunnel")

BACKOFF = (0.5, 30.0)
"""Seconds: the first and the longest bound of the full-jitter back-off."""


class Tunnel:
    """Keeps the tunnel that the server offers; `tell` it each offer. `sshd`: this machine's, host and port."""

    def __init__(
        self,
        identity: Signer,
        sshd: tuple[str, int] = ("127.0.0.1", 22),
        backoff: tuple[float, float] = BACKOFF,
        user: str = "agent",
    ) -> None:
        self._identity = identity
        self._sshd = sshd
        self._backoff = backoff
        self._user = user
        self._terms: TunnelTerms | None = None
        self._told = asyncio.Event()

    def tell(self, terms: TunnelTerms) -> None:
        """From the event loop's thread."""
        self._terms = terms
        self._told.set()

    async def run(self) -> None:
        """For ever; whatever ends a connection is logged in one line, and the next one is tried."""
        try:
            import asyncssh  # 15 MB, for those alone who want a tunnel
        except ImportError:
            log.error("a tunnel needs asyncssh: pip install ./pi_agent[tunnel]")
            return
        await self._told.wait()
        attempt = 0
        while True:
            assert self._terms
            try:
                await self._forward(self._terms)
                attempt = 0
            except (OSError, asyncssh.Error) as error:
                log.warning("tunnel to %s: %s", self._terms.server, str(error) or type(error).__name__)
            first, longest = self._backoff
            await asyncio.sleep(random.uniform(0, min(longest, first * 2 ** min(attempt, 16))))  # noqa: S311
            attempt += 1

    async def _forward(self, terms: TunnelTerms) -> None:
        import asyncssh

        pem = self._identity.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        async with asyncssh.connect(
            terms.server,
            terms.ssh_port,
            username=self._user,
            client_keys=[asyncssh.import_private_key(pem)],
            known_hosts=([asyncssh.import_public_key(terms.host_key)], [], []),
            config=None,
            agent_path=None,
            keepalive_interval=60,
            keepalive_count_max=2,
            connect_timeout=15,
        ) as connection:
            await connection.forward_remote_port("localhost", terms.port, *self._sshd)
            log.info("tunnel to %s is up: port %d there", terms.server, terms.port)
            await connection.wait_closed()
