"""The process roles. `manage.py run ROLE` turns this process into one; Django is loaded only where it is needed."""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from netops import home

if TYPE_CHECKING:
    from celery import Celery


def _django() -> None:
    import django

    django.setup()


def _web() -> int:
    import uvicorn

    _django()
    from core.roles import keep_beating

    keep_beating("web")
    host = os.environ.get("NETOPS_HOST") or "127.0.0.1"
    uvicorn.run(
        "netops.asgi:application", host=host, port=home.port("web"), loop="uvloop", ws="websockets-sansio",
        lifespan="off", log_level="warning", access_log=False, proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    return 0


def _gateway() -> int:
    _django()
    from agents.gateway import main

    return main()


def _worker() -> int:
    """Celery's worker; on one machine beat runs inside it, scaled out `NETOPS_BEAT=0` leaves it to the beat role."""
    from celery.signals import worker_ready

    from core.roles import keep_beating

    app = _celery()
    worker_ready.connect(lambda **_: keep_beating("worker"), weak=False)

    home.folder("run")
    # Root is the documented way to try netops out; the image runs as an ordinary user.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    # Threads: one desk that hangs holds nobody up, and scapy and networkx are in memory once.
    arguments = ["--quiet", "worker", "--pool", "threads", "--concurrency", os.environ.get("NETOPS_WORKERS") or "4"]
    arguments += ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    if os.environ.get("NETOPS_BEAT", "1") != "0":
        arguments.append("--beat")
    app.worker_main(arguments)
    return 0


def _celery() -> "Celery":
    """Beat says once that it is there; from then on its sweeps do (core/tasks.py)."""
    from celery.signals import beat_embedded_init, beat_init

    from core.roles import beat_heart
    from netops.celery import app

    for signal in (beat_init, beat_embedded_init):
        signal.connect(lambda **_: beat_heart("beat"), weak=False)
    return app


def _beat() -> int:
    home.folder("run")
    _celery().start(["beat", "--loglevel", "WARNING"])
    return 0


def _listener() -> int:
    _django()
    from inventory.bgpls.listener import main

    return main()


def _lab() -> NoReturn:
    """The lab with the demo's agent in dev1."""
    state = home.folder("lab")
    agent = [sys.executable, "-m", "lab.vantage", "--server", f"unix:{home.data() / 'run' / 'gateway.sock'}"]
    agent += ["--token", str(state / "join-token"), "--key", str(state / "agent.key")]
    agent += ["--state", str(home.folder("agent"))]
    os.environ["NETOPS_AGENT_PORTS_EXCLUDE"] = "*"  # the serial ports here are no router's
    topology = os.environ.get("NETOPS_LAB_TOPOLOGY")
    command = [sys.executable, "-m", "lab", "run", "--state", str(state), "--bgp", f"127.0.0.1:{home.port('bgp')}"]
    command += ["--topology", topology] if topology else []
    command += ["--agent", os.environ.get("NETOPS_LAB_VANTAGE") or "dev1", "--", *agent]
    _become(command)


def _pi() -> NoReturn:
    """The demo's second agent, with consoles, beside the lab."""
    state, gateway = home.folder("pi"), f"https://127.0.0.1:{home.port('gateway')}"
    command = [sys.executable, "-m", "lab.pi", "--state", str(state), "--server", gateway]
    _become([*command, "--token", str(state / "join-token"), "R1", "R2"])


def _mail() -> NoReturn:
    command = [
        sys.executable,
        "-m",
        "lab.mail_sink",
        "--port",
        str(home.port("mail")),
        "--folder",
        str(home.folder("mail")),
    ]
    _become(command)


def _become(command: list[str]) -> NoReturn:
    """Turn into a program of the lab, which finds its modules beside manage.py wherever we were started."""
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    os.execv(command[0], command)


ROLES: dict[str, Callable[[], int]] = {
    "web": _web,
    "gateway": _gateway,
    "worker": _worker,
    "beat": _beat,
    "listener": _listener,
    "lab": _lab,
    "pi": _pi,
    "mail": _mail,
}


def run(arguments: list[str]) -> int:
    """Entry point of `manage.py run ROLE`."""
    parser = argparse.ArgumentParser(prog="manage.py run", description="Run one process role of netops.")
    parser.add_argument("role", choices=ROLES)
    role = parser.parse_args(arguments).role
    return ROLES[role]()
