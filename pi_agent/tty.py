"""One serial port: opened, read, written, and opened again after it was busy or gone."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

from pi_agent.lines import Settings

AGAIN_S = 1.0
READ = 64 << 10
WAITING = 256 << 10
"""Bytes that may wait for a slow port."""
_PARITY = {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}
_MODEM = {"dcd": termios.TIOCM_CD, "dsr": termios.TIOCM_DSR, "cts": termios.TIOCM_CTS}
_SENTENCES = {
    errno.ENOENT: "is not plugged in",
    errno.ENXIO: "is not plugged in",
    errno.ENODEV: "is not plugged in",
    errno.EIO: "was unplugged, or its other end was closed",
    errno.EACCES: "may not be opened: put the agent's user into the group dialout",
    errno.EBUSY: "is used by another program: end that one",
    errno.EWOULDBLOCK: "is used by another program: end that one",
}


class Tty:
    """From the event loop's thread. `on_state` is told each change: "" when it is open, else why it is not."""

    def __init__(self, name: str, on_bytes: Callable[[bytes], None], on_state: Callable[[str], None]) -> None:
        self.trouble: str | None = None
        """None until it was tried."""
        self._name = name
        self._on_bytes = on_bytes
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._device: str | None = None
        self._settings = Settings()
        self._fd: int | None = None
        self._again: asyncio.TimerHandle | None = None
        self._waiting = bytearray()
        self._paused = False

    def use(self, device: str | None, settings: Settings) -> None:
        """Be this device (None: there is none now) under these settings."""
        if device != self._device:
            self.close()
        self._device, changed, self._settings = device, settings != self._settings, settings
        if self._fd is None:
            self._open()
        elif changed:
            try:
                _configure(self._fd, settings)
            except (OSError, termios.error) as error:
                self._failed(error)

    def write(self, data: bytes) -> str:
        """Why nothing was written; empty when it was, or will be as fast as the port takes it."""
        if self._fd is None:
            return f"{self._name} {self.trouble or 'is not open'}"
        if len(self._waiting) + len(data) > WAITING:
            return f"{self._name} does not take more now: {len(data)} bytes were not written"
        self._waiting += data
        self._flush()
        return ""

    def send_break(self) -> str:
        """As `write`. A quarter to half a second (tcsendbreak(3)), during which the thread waits: it is not ours."""
        if self._fd is None:
            return f"{self._name} {self.trouble or 'is not open'}"
        copy = os.dup(self._fd)

        def work() -> None:
            try:
                termios.tcsendbreak(copy, 0)
            except termios.error:
                pass  # unplugged meanwhile: the reader says so
            finally:
                os.close(copy)

        self._loop.run_in_executor(None, work)
        return ""

    def modem(self) -> dict[str, bool]:
        """Whether each modem line is on; empty where the port is not open, or has none (a pseudo-terminal)."""
        if self._fd is None:
            return {}
        try:
            (bits,) = struct.unpack("i", fcntl.ioctl(self._fd, termios.TIOCMGET, bytes(4)))
        except OSError:
            return {}
        return {name: bool(bits & bit) for name, bit in _MODEM.items()}

    def wait(self, waiting: bool) -> None:
        """Read no more for now: flow control tells the device."""
        if self._fd is not None and waiting != self._paused:
            self._paused = waiting
            if waiting:
                self._loop.remove_reader(self._fd)
            else:
                self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        if self._again:
            self._again.cancel()
            self._again = None
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = None
        self._paused = False
        self._waiting.clear()

    def _open(self) -> None:
        if self._again:
            self._again.cancel()
            self._again = None
        try:
            if self._device is None:
                raise OSError(errno.ENOENT, "")
            self._fd = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as picocom, minicom and pyserial do
            if _has_session(os.fstat(self._fd).st_rdev):  # a getty, which locks nothing
                raise OSError(errno.EBUSY, "")
            fcntl.ioctl(self._fd, termios.TIOCEXCL)
            _configure(self._fd, self._settings)
        except (OSError, termios.error) as error:
            self._failed(error)
            return
        self._loop.add_reader(self._fd, self._read)
        self._tell("")

    def _read(self) -> None:
        assert self._fd is not None
        try:
            data = os.read(self._fd, READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
            return
        if data:
            self._on_bytes(data)
        else:
            self._failed(OSError(errno.EIO, ""))

    def _flush(self) -> None:
        assert self._fd is not None
        try:
            del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed(error)
            return
        if self._waiting:
            self._loop.add_writer(self._fd, self._flush)
        else:
            self._loop.remove_writer(self._fd)

    def _failed(self, error: OSError | termios.error) -> None:
        code = int(error.args[0])
        self.close()
        self._again = self._loop.call_later(AGAIN_S, self._open)
        self._tell(_SENTENCES.get(code, f"cannot be used: {os.strerror(code)}"))

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._on_state(trouble)


def _has_session(device: int) -> bool:
    """Whether it is the controlling terminal of a process: tty_nr of proc_pid_stat(5)."""
    major, minor = os.major(device), os.minor(device)
    number = str((minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12).encode()
    for process in os.scandir("/proc"):
        if process.name.isdecimal():
            with suppress(OSError), open(f"/proc/{process.name}/stat", "rb") as stat:
                if stat.read().rpartition(b")")[2].split()[4] == number:
                    return True
    return False


def _configure(fd: int, settings: Settings) -> None:
    """Raw (cfmakeraw(3)), eight bits, the modem's lines ignored. Bytes that are not read yet stay."""
    speed = getattr(termios, f"B{settings.baud}")
    control = termios.CS8 | termios.CREAD | termios.CLOCAL | _PARITY[settings.parity]
    if settings.flow == "rtscts":
        control |= termios.CRTSCTS
    given = termios.IXON | termios.IXOFF if settings.flow == "xonxoff" else 0
    characters = termios.tcgetattr(fd)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [given, 0, control, 0, speed, speed, characters])
