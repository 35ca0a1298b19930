"""A console behind another console server, dialled by telnet, SSH or plain TCP: as a serial port (tty.py) is used.

Telnet is RFC 854 with binary transmission where the other end has it; a break is RFC 2217's where that was agreed, else
telnet's own. How the far port is set up is the far server's business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from pi_agent.lines import Far
from pi_agent.ports import clean
from pi_agent.telnet import BINARY, COM_PORT, DO, ECHO, SGA, WILL, Telnet

BACKOFF = (1.0, 30.0)
"""Seconds: the first and the longest bound of the back-off."""
CONNECT_S = 15.0
WAITING = 256 << 10
"""Bytes that may wait for a slow server."""
READ = 64 << 10
BREAK_S = 0.3
_SET_CONTROL, _BREAK_ON, _BREAK_OFF = 5, 5, 6
"""RFC 2217."""


class _Refused(Exception):
    """The far end does not let us in; the text goes on after the port's name."""


class Dial:
    """As Tty, from the event loop's thread. `on_state` is told each change: "" when it is open, else why it is not."""

    def __init__(self, name: str, on_bytes: Callable[[bytes], None], on_state: Callable[[str], None]) -> None:
        self.trouble: str | None = None
        """None until it was tried."""
        self._name = name
        self._on_bytes = on_bytes
        self._on_state = on_state
        self._far: Far | None = None
        self._task: asyncio.Task[None] | None = None
        self._way: _Tcp | _Ssh | None = None

    def use(self, far: Far, allowed: bool) -> None:
        """Be connected there; not where this agent's configuration does not name it."""
        if not allowed:
            self.close()
            self._tell(f"is not dialled: {far.address} is not in consoles.dial of this agent's configuration")
        elif far != self._far or self._task is None:
            self.close()
            self._far = far
            self._task = asyncio.create_task(self._keep(far))

    def write(self, data: bytes) -> str:
        """Why nothing was written; empty when it was, or will be as fast as it is taken."""
        if self._way is None:
            return f"{self._name} {self.trouble or 'is not open'}"
        if self._way.waiting() + len(data) > WAITING:
            return f"{self._name} does not take more now: {len(data)} bytes were not written"
        self._way.write(data)
        return ""

    def send_break(self) -> str:
        """As `write`."""
        if self._way is None:
            return f"{self._name} {self.trouble or 'is not open'}"
        return self._way.send_break()

    def modem(self) -> dict[str, bool]:
        """As Tty: it has no lines."""
        return {}

    def close(self) -> None:
        if self._task:
            self._task.cancel()
            self._task = None
        self._way = self._far = None

    async def _keep(self, far: Far) -> None:
        first, longest = BACKOFF
        attempt = 0
        while True:
            way = _Ssh(far, self._on_bytes) if far.proto == "ssh" else _Tcp(far, self._on_bytes)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await way.open()
                self._way, attempt = way, 0
                self._tell("")
                await way.ended()
                trouble = f"was closed by {far.address}"
            except TimeoutError:
                trouble = f"cannot be reached: {far.address} does not answer"
            except _Refused as refusal:
                trouble = str(refusal)
            except OSError as error:
                trouble = f"cannot be reached: {far.address}: {error.strerror or 'no answer'}"
            finally:
                self._way = None
                way.close()
            self._tell(trouble)
            await asyncio.sleep(random.uniform(first / 2, min(longest, first * 2 ** min(attempt, 8))))  # noqa: S311
            attempt += 1

    def _tell(self, trouble: str) -> None:
        trouble = clean(trouble)
        if trouble != self.trouble:
            self.trouble = trouble
            self._on_state(trouble)


class _Tcp:
    """Telnet, or the bytes as they are."""

    def __init__(self, far: Far, on_bytes: Callable[[bytes], None]) -> None:
        self._far = far
        self._on_bytes = on_bytes
        options = frozenset((BINARY, SGA, COM_PORT))
        self._telnet = Telnet(options, options | {ECHO}) if far.proto == "telnet" else None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._far.host, self._far.port)
        if self._telnet:
            for command, option in ((DO, SGA), (WILL, BINARY), (DO, BINARY), (WILL, COM_PORT)):
                self._telnet.ask(command, option)
            self._flush()

    async def ended(self) -> None:
        """Reads until the far end closes."""
        while data := await self._reader.read(READ):
            if self._telnet:
                data = self._telnet.receive(data)
                self._flush()
            if data:
                self._on_bytes(data)

    def waiting(self) -> int:
        assert self._writer
        return self._writer.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        assert self._writer
        if self._telnet:
            self._telnet.send(data)
            self._flush()
        else:
            self._writer.write(data)

    def send_break(self) -> str:
        if self._telnet is None:
            return "plain TCP carries no break"
        if COM_PORT in self._telnet.ours:
            self._control(_BREAK_ON)
            asyncio.get_running_loop().call_later(BREAK_S, self._control, _BREAK_OFF)
        else:
            self._telnet.send_break()
            self._flush()
        return ""

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _control(self, value: int) -> None:
        assert self._telnet
        self._telnet.send_part(COM_PORT, bytes((_SET_CONTROL, value)))
        self._flush()

    def _flush(self) -> None:
        assert self._telnet
        if self._writer and self._telnet.out and not self._writer.is_closing():
            self._writer.write(bytes(self._telnet.out))
            self._telnet.out.clear()


class _Ssh:
    """A terminal by SSH, with a user name and a password; the far key must be the one that was configured."""

    def __init__(self, far: Far, on_bytes: Callable[[bytes], None]) -> None:
        self._far = far
        self._on_bytes = on_bytes
        self._connection: Any = None
        self._process: Any = None

    async def open(self) -> None:
        try:
            import asyncssh  # 15 MB, for those alone who need it
        except ImportError:
            raise _Refused("needs asyncssh at its agent: pip install ./pi_agent[tunnel]") from None
        far, seen = self._far, ""

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                nonlocal seen
                seen = key.get_fingerprint()
                return seen == far.host_key

        try:
            self._connection = await asyncssh.connect(
                far.host, far.port, username=far.user, password=far.secret, client_factory=Client, config=None,
                known_hosts=([], [], []), client_keys=None, agent_path=None, keepalive_interval=30,
            )  # fmt: skip
            self._process = await self._connection.create_process(
                far.command or None, term_type="vt100", encoding=None, stderr=asyncssh.STDOUT
            )
        except asyncssh.HostKeyNotVerifiable:
            raise _Refused(f"is not opened: the key of {far.address} is {seen}; enter it here if it is right") from None
        except asyncssh.PermissionDenied:
            raise _Refused(f"is not opened: {far.address} refuses this user name or password") from None
        except asyncssh.Error as error:
            raise _Refused(f"is not opened: {far.address}: {error.reason}") from None

    async def ended(self) -> None:
        while data := await self._process.stdout.read(READ):
            self._on_bytes(data)

    def waiting(self) -> int:
        size: int = self._process.channel.get_write_buffer_size()
        return size

    def write(self, data: bytes) -> None:
        self._process.stdin.write(data)

    def send_break(self) -> str:
        self._process.send_break(int(BREAK_S * 1000))
        return ""

    def close(self) -> None:
        if self._connection:
            self._connection.close()
