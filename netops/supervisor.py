"""`manage.py runall`: every role of one machine under one parent. Loads no Django.

Children start in order of what needs what, are restarted with back-off when they die, never outlive the parent
(PR_SET_PDEATHSIG) and write their lines behind the role's name. Exit status 2 or 3 of a child means that a person has
to act, as its own line says: it is not started again.
"""

import argparse
import ctypes
import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from netops import embedded, home

MANAGE = str(Path(__file__).resolve().parent.parent / "manage.py")
NEEDS_A_PERSON = (2, 3)
GRACE_S = 8.0
_libc = ctypes.CDLL(None, use_errno=True)


def say(line: str) -> None:
    print(line, flush=True)


def _die_with_parent(number: int) -> Callable[[], None]:
    """PR_SET_PDEATHSIG: a child ends when the supervisor is killed, however it is killed."""

    def prepare() -> None:
        _libc.prctl(1, number)

    return prepare


@dataclass
class Child:
    """One process that is kept running."""

    name: str
    command: Sequence[str]
    options: dict[str, Any] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    not_before: float = 0.0
    delay: float = 0.0

    def start(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(self.stop_signal),
            **self.options,
        )
        assert self.process.stdout
        threading.Thread(target=_relay, args=(self.name, self.process.stdout), daemon=True).start()

    def died(self) -> int | None:
        return self.process.poll() if self.process else None

    def back_off(self) -> None:
        """0.3 s after a first death, doubling to 30 s; a minute of life forgives."""
        lived = time.monotonic() - self.started
        self.delay = 0.3 if lived > 60 else min(30.0, max(0.3, self.delay * 2))
        self.not_before, self.process = time.monotonic() + self.delay, None


def _relay(name: str, stream: IO[bytes]) -> None:
    for raw in stream:
        say(f"{name:<9}| {raw.decode(errors='replace').rstrip()}")


def _role(name: str) -> Child:
    return Child(name, [sys.executable, MANAGE, "run", name])


class Supervisor:
    """Owns the children, from the first to the last."""

    def __init__(self, *, demo: bool) -> None:
        self.demo = demo
        self.children: list[Child] = []
        self.stopping = threading.Event()

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stopping.set())
        try:
            self._start()
            if not self.stopping.is_set():
                self._wait_ready()
            while not self.stopping.wait(0.2):
                self._tend()
            return 0
        finally:
            self._stop()

    def _start(self) -> None:
        if home.embedded():
            self._start_embedded()
        setup = [sys.executable, MANAGE, "setup", *(["--demo"] if self.demo else [])]
        if status := subprocess.run(setup, preexec_fn=_die_with_parent(signal.SIGTERM)).returncode:
            raise SystemExit(status if status > 0 else 1)
        roles = ["gateway", "web", "listener", "worker", *(["mail", "lab"] if self.demo else [])]
        for name in roles:
            self._add(_role(name))

    def _start_embedded(self) -> None:
        postgres = embedded.Postgres(home.data(), home.port("postgres"))
        postgres.prepare(home.secret("database_superuser"))
        self._add(Child("valkey", embedded.valkey_command(home.folder("run")), stop_signal=signal.SIGKILL))
        child = Child("postgres", postgres.command(), postgres.popen_options(), signal.SIGINT)
        self._add(child)
        assert child.process
        postgres.wait_ready(child.process)

    def _add(self, child: Child) -> None:
        self.children.append(child)
        child.start()

    def _tend(self) -> None:
        for child in list(self.children):
            if (status := child.died()) is not None:
                if status in NEEDS_A_PERSON:
                    say(f"netops   | {child.name} ended and waits for you; everything else goes on")
                    self.children.remove(child)
                    continue
                child.back_off()
                say(f"netops   | {child.name} ended with status {status}; it starts again in {child.delay:.1f} s")
            if child.process is None and time.monotonic() >= child.not_before:
                child.start()

    def _wait_ready(self) -> None:
        """Print the ready line once /health/ answers 200; say what is missing while it takes long."""
        began = told = time.monotonic()
        while not self.stopping.wait(0.05):
            self._tend()
            status, body = _health()
            if status == 200:
                say(f"netops is ready: http://127.0.0.1:{home.port('web')}/  ({time.monotonic() - began:.1f} s)")
                if self.demo:
                    say(f"sign in as demo with the password {home.secret('demo_password')}")
                return
            if time.monotonic() - told > 10:
                told = time.monotonic()
                say(f"netops   | still starting: {body or 'no answer from web'}")

    def _stop(self) -> None:
        """Roles first, then Valkey and PostgreSQL, which they still write to."""
        services = [child for child in self.children if child.name in ("postgres", "valkey")]
        for group in ([child for child in self.children if child not in services], services):
            running = [child.process for child in group if child.process and child.process.poll() is None]
            for child in group:
                if child.process in running:
                    child.process.send_signal(child.stop_signal)
            deadline = time.monotonic() + GRACE_S
            for process in running:
                try:
                    process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        say("netops has stopped")


def _health() -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", home.port("web"), timeout=2)
    try:
        connection.request("GET", "/health/", headers={"Host": "127.0.0.1"})
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _lock() -> int:
    """One runall per NETOPS_DATA."""
    handle = os.open(home.folder("run") / "runall.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        home.fail(f"netops already runs on {home.data()}: stop it first or set another NETOPS_DATA.")
    return handle


def _check_ports(names: Sequence[str]) -> None:
    for name in names:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", home.port(name)))
            except OSError:
                home.fail(f"port {home.port(name)} ({name}) is in use: stop what uses it or set another NETOPS_PORT.")


def runall(arguments: list[str]) -> int:
    """Entry point: run until Ctrl-C. Exit status 0 after a clean stop."""
    parser = argparse.ArgumentParser(prog="manage.py runall", description="Run every role of netops on this machine.")
    parser.add_argument("--no-demo", action="store_true", help="without the demo team, its lab and its mail sink")
    demo = not parser.parse_args(arguments).no_demo
    if demo:
        # The demo's desk and route reflector are on this machine.
        allow = f"127.0.0.1:{home.port('mail')} 127.0.0.1:{home.port('bgp')}"
        os.environ["NETOPS_OUTBOUND_ALLOW"] = f"{os.environ.get('NETOPS_OUTBOUND_ALLOW', '')} {allow}"
    _lock()
    _check_ports(["web", "gateway", *(["mail", "bgp"] if demo else [])])
    return Supervisor(demo=demo).run()
