"""A real SMTP server (aiosmtpd) in a thread, whose answers a test may script."""

import asyncio
import email
import email.policy
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

DROP = "drop the connection"


@dataclass
class Mailbox:
    """What arrived, and what to say next: `data` to whole mails, `rcpt` by address; empty means yes."""

    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    data: deque[str] = field(default_factory=deque)
    rcpt: dict[str, deque[str]] = field(default_factory=dict)
    logins: list[LoginPassword] = field(default_factory=list)
    password: bytes = b""
    hold: threading.Event | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answers := self.rcpt.get(address):
            return answers.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.data.popleft() if self.data else "250 OK"
        assert isinstance(envelope.content, bytes)
        if answer[0] == "2" or answer == DROP:
            self.raw.append(envelope.content)
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
            self.recipients.append(list(envelope.rcpt_tos))
        self.reached.set()
        if self.hold:
            await asyncio.to_thread(self.hold.wait, 60)
        if answer == DROP:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return answer

    def login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(data)
        return AuthResult(success=data.password == self.password, handled=False)

    def header(self, name: str) -> list[str | None]:
        return [mail[name] for mail in self.mails]


@contextmanager
def serving(
    mailbox: Mailbox, port: int = 0, context: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Mailbox]:
    """Serve `mailbox` on loopback; its port is then `mailbox.port`."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    def smtp() -> SMTP:
        return SMTP(mailbox, hostname="localhost", loop=loop, authenticator=mailbox.login, **options)

    async def serve() -> None:
        server = await loop.create_server(smtp, "127.0.0.1", port, ssl=context)
        mailbox.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, name="smtp")
    thread.start()
    assert ready.wait(30)
    try:
        yield mailbox
    finally:
        if mailbox.hold:
            mailbox.hold.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def raw_server(talk: Any) -> Iterator[int]:
    """A server that is no SMTP server: `talk(connection)` runs for each connection, in a thread; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    talk(connection)

        thread = threading.Thread(target=serve, name="raw", daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
