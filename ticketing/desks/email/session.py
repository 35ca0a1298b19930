"""One SMTP conversation (RFC 5321) with an end: connect to the address the gate allowed, send one mail."""

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Self, TypeVar

from core.outbound import Target
from ticketing import bounds
from ticketing.desks.base import DeskRefused, DeskUnavailable
from ticketing.desks.email.mail import own_domain

T = TypeVar("T")

# For the whole conversation, also with a server that sends a byte now and then; under half of the outbox's lease.
TIMEOUT_S = 20.0
_MAX_ANSWERS = 256 * 1024


class _Answers:
    """The server's lines, with an end: smtplib gathers the lines of one answer for as long as they come."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, _MAX_ANSWERS

    def readline(self, limit: int) -> bytes:
        line = self.file.readline(limit)
        self.left -= len(line)
        if self.left < 0:
            raise OSError("its answer has no end")
        if line and len(line) < limit and not line.endswith(b"\n"):
            raise OSError("its answer breaks off")
        return line

    def close(self) -> None:
        self.file.close()


class _Pinned(smtplib.SMTP):
    """Connects to the address that was judged, whatever the name says by now; TLS still checks the name."""

    def __init__(self, target: Target) -> None:
        # A name of our own: smtplib would ask the name server for this machine's.
        super().__init__(local_hostname=own_domain(), timeout=TIMEOUT_S / 2)
        self.address = target.address
        # SMTP.__init__ keeps the name for TLS only where it also connects.
        self._host = target.host

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self.address, port), timeout)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock.makefile("rb"))
        return super().getreply()


class _PinnedTLS(_Pinned):
    """TLS from the first byte (RFC 8314)."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self._host)


class Session:
    """Raises DeskRefused and DeskUnavailable with one sentence. What a server says about a login is never quoted."""

    def __init__(self, target: Target, settings: Mapping[str, Any]) -> None:
        self.target, self.settings = target, settings
        self.smtp = (_PinnedTLS if settings["security"] == "tls" else _Pinned)(target)
        self.over, self.timed_out = threading.Event(), False

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="smtp-deadline", daemon=True).start()
        try:
            self._talk(self._open)
        except BaseException:
            self._close()
            raise
        return self

    def send(self, to: Sequence[str], mail: bytes) -> str:
        """Deliver `mail`; returns a remark about recipients that were refused for good, else an empty text."""
        refused = self._talk(self.smtp.sendmail, self.settings["sender"], list(to), mail)
        later = [address for address, (code, _) in refused.items() if code < 500]
        if later:
            raise DeskUnavailable(self._quote(*refused[later[0]]), progress={"to": later})
        return " ".join(f"{address} was refused: {self._quote(*answer)}" for address, answer in refused.items())

    def __exit__(self, *_: object) -> None:
        # The mail is the server's since its 250: nothing that goes wrong from here on may undo that.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            self.smtp.quit()
        self._close()

    def _open(self) -> None:
        code, answer = self.smtp.connect(self.target.host, self.target.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, answer)
        if self.settings["security"] == "starttls":
            self.smtp.starttls(context=ssl.create_default_context())
        if self.settings["username"]:
            self.smtp.login(self.settings["username"], self.settings["password"])

    def _talk(self, step: Callable[..., T], *arguments: Any) -> T:
        """Run one step; every way in which SMTP fails becomes a sentence with a verdict."""
        host = f"{self.target.host}:{self.target.port}"
        try:
            return step(*arguments)
        except smtplib.SMTPAuthenticationError as error:
            sentence = f"{host} refused the user name or the password ({error.smtp_code})."
            raise _verdict(error.smtp_code)(sentence) from None
        except smtplib.SMTPNotSupportedError as error:
            raise DeskRefused(f"{host}: {bounds.line(error, 200)}") from None
        except smtplib.SMTPRecipientsRefused as error:
            temporary_first = min(error.recipients.values(), key=lambda answer: answer[0])
            raise _verdict(temporary_first[0])(self._quote(*temporary_first)) from None
        except smtplib.SMTPResponseException as error:
            sentence = self._quote(error.smtp_code, error.smtp_error)
            if isinstance(error, smtplib.SMTPConnectError) or error.smtp_code == 421:
                raise DeskUnavailable(sentence, down=True) from None
            raise _verdict(error.smtp_code)(sentence) from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeskUnavailable(f"{host} did not take the mail: {self._why(error)}.", down=True) from None

    def _why(self, error: Exception) -> str:
        if self.timed_out or isinstance(error, TimeoutError):
            return f"it was too slow (all has to be said within {TIMEOUT_S:g} s)"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not valid ({error.verify_message.rstrip('.')})"
        return bounds.line(getattr(error, "strerror", None) or error, 200).rstrip(".")

    def _quote(self, code: int, answer: bytes | str) -> str:
        text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
        if password := self.settings["password"]:
            text = text.replace(password, "***")
        return f"{self.target.host} says: {code} {bounds.line(text, 300)}"

    def _watch(self) -> None:
        """Cut a conversation that takes too long, again and again: a connection may be made or wrapped meanwhile."""
        self.timed_out = not self.over.wait(TIMEOUT_S)
        while not self.over.is_set():
            if isinstance(self.smtp.sock, socket.socket):
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown: TLS objects belong to one thread.
                    socket.socket.shutdown(self.smtp.sock, socket.SHUT_RDWR)
            self.over.wait(0.2)

    def _close(self) -> None:
        self.over.set()
        self.smtp.close()


def _verdict(code: int) -> type[DeskRefused | DeskUnavailable]:
    return DeskRefused if 500 <= code < 600 else DeskUnavailable
