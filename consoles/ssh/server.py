"""The SSH front door of the consoles: people's keys and one-time passwords, one console or a list of them.

Nothing else: no shell, no command, no file transfer, no forwarding of ports, sockets, agents or displays.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import asyncssh
from django.db import Error as DatabaseError

from consoles.hub import Hub
from consoles.ssh.limits import Limits, place_of
from consoles.ssh.rights import Rights, Unknown
from consoles.ssh.terminal import Terminal
from consoles.ssh.visit import Visitor, visit
from tenancy import ssh
from tenancy.ssh import SshPerson

log = logging.getLogger("netops.consoles")

BANNER = "netops consoles: sign in with a key or a one-time password of your account.\r\n"
LOGIN_S = 60
TRIES = 20
"""Keys and passwords of one connection; an agent may hold several keys."""
CHANNELS = 10
"""Sessions of one connection."""
ALGORITHMS: dict[str, Any] = {
    "kex_algs": "*25519-sha256*,ecdh-sha2-nistp*,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512",
    "encryption_algs": "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr",
    "mac_algs": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
    "signature_algs": "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp*,sk-ecdsa-sha2-nistp256@openssh.com,"
    "rsa-sha2-512,rsa-sha2-256",
    "compression_algs": None,
}


class Door:
    """What all connections have in common."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.rights, self.limits = hub, Rights(), Limits()
        self.looking = asyncio.create_task(self.rights.keep())

    async def listen(self, sock: socket.socket) -> None:
        self.acceptor = await asyncssh.listen(
            sock=sock,
            server_factory=lambda: Guest(self),
            server_host_keys=[asyncssh.import_private_key(ssh.host_key_file().read_text())],
            server_version="netops",
            login_timeout=LOGIN_S,
            # A client that vanishes gives the console back as a browser does, within half a minute.
            keepalive_interval=10,
            keepalive_count_max=2,
            process_factory=self.serve,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            **ALGORITHMS,
        )
        host, port = sock.getsockname()[:2]
        log.info("consoles by SSH: %s port %s, the key is %s", host, port, ssh.host_fingerprint())

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One session, to its end."""
        guest: Guest = process.get_extra_info("guest")
        terminal, status = Terminal(process), 1
        guest.channels += 1
        try:
            if process.command is not None or process.subsystem is not None or guest.channels > CHANNELS:
                await terminal.say("Only consoles are here: leave the command out, and type into one.")
            else:
                status = await visit(self.hub, self.rights, guest.visitor(), terminal)
        except (OSError, asyncssh.Error):
            pass  # the client is gone
        finally:
            guest.channels -= 1
            terminal.leave(status)


class Guest(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._connection: asyncssh.SSHServerConnection
        self._place = ""
        self._stranger = self._tried = False
        self._tries = 0
        self._person: SshPerson | None = None
        self._fingerprint = ""
        self._wish = ""
        self.channels = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        conn.set_extra_info(guest=self)
        place = place_of(conn.get_extra_info("peername")[0])
        if self._door.limits.enter(place):
            self._place, self._stranger = place, True
        else:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._place:
            return
        self._door.limits.leave(self._place)
        if self._stranger:
            self._door.limits.strangers -= 1
            if self._tries:
                self._door.limits.failures.count(self._place)

    def begin_auth(self, username: str) -> bool:
        if not self._wish:
            self._connection.send_auth_banner(BANNER)
        self._wish = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether it is one of the person's; asyncssh then asks for its signature. The last key asked counts."""
        return await self._known(username, key.get_fingerprint())

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """A one-time password, which is spent by this."""
        name, limits = name_of(username), self._door.limits
        if limits.wrong.spent(name) or limits.failures.spent(self._place) or not self._may_try():
            return False
        try:
            spent = await self._door.rights.ask(lambda: ssh.ssh_password_spend(username=name, secret=password[:100]))
        except DatabaseError:
            return False
        if not spent:
            limits.wrong.count(name)
            limits.failures.count(self._place)
            return False
        return await self._known(username, "")

    def auth_completed(self) -> None:
        assert self._person
        self._stranger = False
        self._door.limits.strangers -= 1
        how = self._fingerprint or "a one-time password"
        log.info("%s is in by SSH from %s with %s", self._person.name, self._place, how)
        if self._fingerprint:
            self._noting = asyncio.create_task(self._note_use(self._person.keys[self._fingerprint]))

    def visitor(self) -> Visitor:
        assert self._person
        return Visitor(self._person, self._fingerprint, self._wish.partition(":")[2])

    async def _known(self, username: str, fingerprint: str) -> bool:
        """Whether this person is let in with this key, or with "" by a password that was right."""
        self._person, self._fingerprint = None, ""
        if fingerprint and not self._may_try():
            return False
        try:
            person = await self._door.rights.person(name_of(username))
        except (Unknown, DatabaseError):
            return False
        if person is None or (fingerprint and fingerprint not in person.keys):
            return False
        self._person, self._fingerprint = person, fingerprint
        return True

    def _may_try(self) -> bool:
        self._tries += 1
        if self._tries > TRIES:
            self._connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many attempts.")
        return self._tries <= TRIES

    async def _note_use(self, pk: int) -> None:
        try:
            await self._door.rights.ask(lambda: ssh.ssh_key_used(pk=pk))
        except DatabaseError:
            log.warning("the use of an SSH key was not noted")


def name_of(username: str) -> str:
    """Of USER:TEAM/CONSOLE; empty where nobody is called so."""
    name = username.partition(":")[0][:150]
    return name if name.isprintable() else ""
