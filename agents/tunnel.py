"""The gateway's SSH server: an agent gets one port on the server's loopback, chosen here, that leads to its own sshd.

Nothing else: no shell, no exec, no file transfer, no forwarding to anywhere, no other port, no foreign key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import asyncssh

from agents import nudges, services, tls
from agents.link import in_thread
from agents.models import agent_of_key

log = logging.getLogger("netops.gateway")

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ED25519 = b"ssh-ed25519"
LOOK_S = 5.0
"""Between looks whether the key is still enrolled; nudges are quicker, and may get lost."""


async def listen(sock: socket.socket) -> asyncssh.SSHAcceptor:
    """Serve agents until closed; at most one tunnel an agent, the newest."""
    open_: dict[int, Tunnel] = {}
    return await asyncssh.listen(
        sock=sock,
        server_factory=lambda: Tunnel(open_),
        server_host_keys=[asyncssh.import_private_key(tls.ssh_key_file().read_text())],
        server_version="netops",
        login_timeout=10,
        keepalive_interval=30,
        keepalive_count_max=2,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        compression_algs=None,
    )


class Tunnel(asyncssh.SSHServer):
    """One connection of one agent."""

    def __init__(self, open_: dict[int, Tunnel]) -> None:
        self._open = open_
        self._connection: asyncssh.SSHServerConnection
        self._key = ""
        self._found: tuple[int, int] | None = None
        self._port = 0
        self._watch: asyncio.Task[None] | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch:
            self._watch.cancel()
        if self._found and self._open.get(self._found[1]) is self:
            del self._open[self._found[1]]

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is an enrolled agent's; asyncssh then asks for its signature. The last key asked counts."""
        blob = key.public_data
        self._key = blob[-32:].hex() if key.algorithm == ED25519 else ""
        self._found = await in_thread(None, agent_of_key, self._key) if self._key else None
        if self._found is None:
            return False
        team_id, agent_id = self._found
        self._port = await in_thread(team_id, services.tunnel_port, agent_id=agent_id)
        return True

    def auth_completed(self) -> None:
        assert self._found
        if older := self._open.get(self._found[1]):
            older.close()
        self._open[self._found[1]] = self
        self._watch = asyncio.create_task(self._stay_enrolled(self._found))

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return listen_host in LOOPBACK and listen_port == self._port

    def close(self) -> None:
        self._connection.abort()

    async def _stay_enrolled(self, found: tuple[int, int]) -> None:
        """Until the key is revoked, which is told and looked for."""
        news = asyncio.Event()
        with nudges.hearing(found[1], news.set):
            while await in_thread(None, agent_of_key, self._key) == found:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_S)
                news.clear()
            log.info("the tunnel of agent %s ends: its key is no longer enrolled", found[1])
            self.close()
