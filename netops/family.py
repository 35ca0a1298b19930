"""Child processes that are kept running: programs and forks, restarted with back-off, never outliving their parent.

One thread and no Django: the loop reads what the children print, puts their names before it, and starts again what
died. Without threads a child can be forked at any moment. Exit status 2 or 3 of a child means that a person has to
act, as its own line says: it is not started again.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from setproctitle import setproctitle

NEEDS_A_PERSON = (2, 3)
GRACE_S = 8.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def say(line: str) -> None:
    print(line, flush=True)


class Running(Protocol):
    """What Popen and Forked have in common."""

    pid: int

    def poll(self) -> int | None: ...
    def send_signal(self, sig: int, /) -> None: ...


class Forked:
    """A forked child, with the few methods of Popen that a family needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


class Child:
    """One process; `launch` starts it and gives the end of the pipe that its output comes from."""

    stop_signal: int = signal.SIGTERM

    def __init__(self, name: str, *, once: bool = False) -> None:
        self.name, self.once = name, once
        self.process: Running | None = None
        self.started = self.not_before = self.delay = 0.0
        self.unfinished = b""

    def launch(self, output: int) -> Running:
        raise NotImplementedError

    def back_off(self) -> None:
        """0.3 s after a first death, doubling to 30 s; a minute of life forgives."""
        lived = time.monotonic() - self.started
        self.delay = 0.3 if lived > 60 else min(30.0, max(0.3, self.delay * 2))
        self.not_before, self.process = time.monotonic() + self.delay, None


class Program(Child):
    """A child that is another program."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        options: dict[str, Any] | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        super().__init__(name)
        self.command, self.options, self.stop_signal = command, options or {}, stop_signal

    def launch(self, output: int) -> Running:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, self.stop_signal),
            **self.options,
        )


class Fork(Child):
    """A child that goes on in this very interpreter, sharing what is already loaded."""

    def __init__(self, name: str, function: Callable[[], int], *, once: bool = False) -> None:
        super().__init__(name, once=once)
        self.function = function

    def launch(self, output: int) -> Running:
        parent = os.getpid()
        if pid := os.fork():
            return Forked(pid)
        try:
            self._become(output, parent)
        finally:
            os._exit(1)

    def _become(self, output: int, parent: int) -> NoReturn:
        _libc.prctl(PR_SET_PDEATHSIG, self.stop_signal)
        os.setsid()
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        setproctitle(f"netops: {self.name}")
        status = 1
        try:
            status = self.function()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Family:
    """The children of this process, from the first to the last."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.stopping = threading.Event()
        self._selector = selectors.DefaultSelector()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stopping.set())

    def add(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)

    def _start(self, child: Child) -> None:
        reader, writer = os.pipe()
        child.started = time.monotonic()
        child.process = child.launch(writer)
        os.close(writer)
        self._selector.register(reader, selectors.EVENT_READ, child)

    def turn(self, wait_s: float = 0.1) -> list[tuple[Child, int]]:
        """Relay what was printed within `wait_s`, start again what died; who died, with which status."""
        for key, _ in self._selector.select(wait_s):
            self._relay(key.fd, key.data)
        dead = []
        for child in list(self.children):
            if child.process and (status := child.process.poll()) is not None:
                dead.append((child, status))
                self._bury(child, status)
            if child.process is None and child in self.children and time.monotonic() >= child.not_before:
                self._start(child)
        return dead

    def _bury(self, child: Child, status: int) -> None:
        if self.stopping.is_set():
            return
        if child.once or status in NEEDS_A_PERSON:
            self.children.remove(child)
        if child.once:
            return
        if status in NEEDS_A_PERSON:
            say(f"netops   | {child.name} ended and waits for you; everything else goes on")
            return
        child.back_off()
        say(f"netops   | {child.name} ended with status {status}; it starts again in {child.delay:.1f} s")

    def _relay(self, reader: int, child: Child) -> None:
        data = os.read(reader, 65536)
        if not data:
            self._selector.unregister(reader)
            os.close(reader)
        *lines, child.unfinished = (child.unfinished + data).split(b"\n")
        for line in lines:
            say(f"{child.name:<9}| {line.decode(errors='replace').rstrip()}" if child.name else line.decode())

    def stop(self, children: Sequence[Child]) -> None:
        """Ask them to end, and make them after GRACE_S."""
        self.stopping.set()
        running = [child for child in children if child.process and child.process.poll() is None]
        for child in running:
            assert child.process
            child.process.send_signal(child.stop_signal)
        deadline = time.monotonic() + GRACE_S
        while (left := [c.process for c in running if c.process and c.process.poll() is None]) and (
            time.monotonic() < deadline
        ):
            self.turn(0.05)
        for process in left:
            os.killpg(process.pid, signal.SIGKILL)
        while any(process.poll() is None for process in left):
            self.turn(0.05)
