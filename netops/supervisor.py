"""`manage.py runall`: every role of one machine under one parent, which loads no Django.

PostgreSQL, Valkey and `crew` are its children. The crew (`crew` below) loads Django once, brings the database up to
date and forks the roles: they share what is loaded and start in a moment.
"""

import argparse
import fcntl
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from netops import embedded, home
from netops.family import Child, Family, Fork, Program, say

MANAGE = str(Path(__file__).resolve().parent.parent / "manage.py")
ROLES = ("web", "gateway", "listener", "worker")


class Supervisor:
    def __init__(self, *, demo: bool) -> None:
        self.demo = demo
        self.family = Family()
        self.services: list[Child] = []
        self.crew = Program("", [sys.executable, MANAGE, "crew", *(["--demo"] if demo else [])])

    def run(self) -> int:
        try:
            if home.embedded():
                self._start_services()
            self.family.add(self.crew)
            status = self._wait_ready()
            while not self.family.stopping.is_set():
                self.family.turn()
            return status
        finally:
            self.family.stop([self.crew])
            self.family.stop(self.services)
            say("netops has stopped")

    def _start_services(self) -> None:
        postgres = embedded.Postgres(home.data(), home.port("postgres"))
        postgres.prepare(home.secret("database_superuser"))
        self.services = [
            Program("valkey", embedded.valkey_command(home.folder("run")), stop_signal=signal.SIGKILL),
            Program("postgres", postgres.command(), postgres.popen_options(), signal.SIGINT),
        ]
        for service in self.services:
            self.family.add(service)

    def _wait_ready(self) -> int:
        """Print the ready line once /health/ answers 200; a crew that fails before that is not tried again."""
        began = told = time.monotonic()
        while not self.family.stopping.is_set():
            for child, status in self.family.turn(0.05):
                if child is self.crew or child in self.services:
                    self.family.stopping.set()
                    return status if status > 0 else 1
            status, body = _health()
            if status == 200:
                say(f"netops is ready: http://127.0.0.1:{home.port('web')}/")
                if self.demo:
                    say(f"sign in as demo with the password {home.secret('demo_password')}")
                return 0
            if time.monotonic() - told > 10:
                told = time.monotonic()
                say(f"netops   | {told - began:.0f} s, still starting: {body or 'no answer from web'}")
        return 0


def _health() -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", home.port("web"), timeout=2)
    try:
        connection.request("GET", "/health/")
        answer = connection.getresponse()
        return answer.status, answer.read(200).decode(errors="replace")
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
    # Threads allocate in arenas of their own; two are enough for us and save tens of megabytes.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    if demo:
        # The demo's desk and route reflector are on this machine.
        allow = f"127.0.0.1:{home.port('mail')} 127.0.0.1:{home.port('bgp')}"
        os.environ["NETOPS_OUTBOUND_ALLOW"] = f"{os.environ.get('NETOPS_OUTBOUND_ALLOW', '')} {allow}"
    _lock()
    _check_ports(["web", "gateway", "ssh", "console", "console_ssh", *(["mail", "bgp"] if demo else [])])
    return Supervisor(demo=demo).run()


def crew(arguments: list[str]) -> int:
    """Entry point of the second process: Django once, the database up to date, then the roles as forks."""
    demo = "--demo" in arguments
    family = Family()
    preload()
    if home.embedded():
        embedded.Postgres(home.data(), home.port("postgres")).wait_ready()
    if status := _setup(family, demo=demo):
        return status
    from netops.roles import ROLES as FUNCTIONS

    for name in ROLES:
        family.add(Fork(name, FUNCTIONS[name]))
    for name in ("mail", "lab", "pi") if demo else ():
        family.add(Program(name, [sys.executable, MANAGE, "run", name]))
    if demo:
        family.add(Fork("demo", _campaign, once=True))
    while not family.stopping.is_set():
        family.turn()
    family.stop(family.children)
    return 0


def preload() -> None:
    """What every role needs, loaded once and kept out of the collector's way so that forks go on sharing it."""
    import gc

    import django

    django.setup()
    for module in ("channels.layers", "redis.asyncio", "rest_framework.views", "uvicorn", "netops.urls"):
        import_module(module)

    gc.collect()
    gc.freeze()


def _campaign() -> int:
    from core.scope import at_the_command_line
    from netops.demo import load_campaign

    with at_the_command_line():
        return load_campaign()


def _setup(family: Family, *, demo: bool) -> int:
    """Run `manage.py setup` in a fork, so that no connection of its owner stays with us."""
    from django.core.management import call_command

    from core.scope import at_the_command_line

    def migrate() -> int:
        with at_the_command_line():
            call_command("setup", demo=demo)
        return 0

    family.add(Fork("setup", migrate, once=True))
    while not family.stopping.is_set():
        for _, status in family.turn(0.02):
            return status
    return 1
