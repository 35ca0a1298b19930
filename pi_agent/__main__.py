"""The edge of netops: keeps one link to the server, tells it of this machine, and carries out its plans."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path

from pi_agent.config import NO_LINK, PREFIX, Config, load, parse_pin, parse_sshd
from pi_agent.consoles import Consoles
from pi_agent.identity import Identity, IdentityError
from pi_agent.link import Link, check_url
from pi_agent.machine import Machine
from pi_agent.outbox import Outbox
from pi_agent.post import PostError
from pi_agent.prober.plan import Plan
from pi_agent.prober.prober import Prober
from pi_agent.registration import Registration
from pi_agent.reports import Reporter
from pi_agent.rotation import Keys
from pi_agent.state import Enrolled, StateError, Status, is_running, lock, prepare, since_boot
from pi_agent.tunnel import Tunnel
from pi_agent.watcher import Watcher

log = logging.getLogger("pi_agent")

QUEUE_LIMIT = 2 << 20
"""Bytes of reports kept while the server does not acknowledge them."""
NOT_ENROLLED = "this agent is not enrolled: run netops-agent enrol URL TOKEN, or name a link (NETOPS_AGENT_LINK)"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.ERROR)
    try:
        command: Callable[[argparse.Namespace], int] = options.handler
        return command(options)
    except (IdentityError, PostError, StateError, ValueError) as error:
        print(f"netops-agent: {error}", file=sys.stderr)
    except OSError as error:
        print(f"netops-agent: {error.filename or 'the system'}: {error.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="netops-agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, handler: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.set_defaults(handler=handler)
        return command

    enrol = add("enrol", _enrol, "make this machine known to the server, once")
    enrol.add_argument("url", metavar="URL", help="https://host[:port] of the server")
    enrol.add_argument("token", metavar="TOKEN", help="the join token; - reads it from standard input")
    run = add("run", _run, "keep the link to the server and carry out its plans")
    run.add_argument(
        "--link",
        type=_link,
        help="wss://host:port/link, ws://… or unix:/path, if not as enrolled; several with spaces between",
    )
    rotate = add("rotate", _rotate, "give this agent another key; safe to repeat, whatever ended it before")
    status = add("status", _status, "say how the link is")
    doctor = add("doctor", _doctor, "say what is wrong and what to do")
    for command in (enrol, run, rotate, status, doctor):
        command.add_argument("--config", type=Path, help="the TOML file of the configuration")
        command.add_argument("--state", help="the folder of what the agent keeps")
        command.add_argument("--key", help="the key file")
    keygen = add("keygen", _keygen, "make an ed25519 key and print its public half")
    keygen.add_argument("file", type=Path)
    return parser


def _link(text: str) -> str:
    try:
        return check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _config(options: argparse.Namespace) -> Config:
    file = os.environ.get(f"{PREFIX}CONFIG")
    config = load(options.config or (Path(file) if file else None), os.environ)
    given = {name: getattr(options, name, None) for name in ("link", "state", "key")}
    return replace(config, **{name: value for name, value in given.items() if value})


def _keygen(options: argparse.Namespace) -> int:
    print(Identity.create(options.file).public.hex())
    return 0


def _enrol(options: argparse.Namespace) -> int:
    from pi_agent.enrol import enrol
    from pi_agent.enrolment import fingerprint

    config = _config(options)
    token = sys.stdin.readline() if options.token == "-" else options.token  # noqa: S105
    done = enrol(options.url, token, config)
    print(f"Enrolled as {done.agent}; the key's fingerprint is {fingerprint(done.key)}")
    if done.waiting:
        print("Next, somebody of the team compares the fingerprint on the page Agents and approves it.")
    if is_running(config.folder):
        print("Then restart the agent: sudo systemctl restart netops-agent")
    else:
        print("Then start the agent: sudo systemctl enable --now netops-agent (or netops-agent run)")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    from pi_agent.enrolment import fingerprint
    from pi_agent.rotation import rotate

    print(f"The new key's fingerprint is {fingerprint(rotate(_config(options)))}")
    return 0


def _status(options: argparse.Namespace) -> int:
    config = _config(options)
    enrolled, status, running = Enrolled.load(config.folder), Status.load(config.folder), is_running(config.folder)
    if enrolled:
        print(f"enrolled with {enrolled.server} as {enrolled.agent}")
    if not running:
        print("the agent does not run: sudo systemctl start netops-agent")
    elif status.since is None:
        print(f"link to {status.link}: down")
    else:
        minutes = int(since_boot() - status.since) // 60
        print(f"link to {status.link}: up for {minutes // 60} h {minutes % 60} min")
    if status.error:
        print(f"last error: {status.error}")
    print(f"{len(status.ports)} serial port{'s' if len(status.ports) != 1 else ''}", *status.ports, sep="\n  ")
    return 0 if running and status.since is not None else 1


def _doctor(options: argparse.Namespace) -> int:
    from pi_agent.doctor import examine

    wrong = 0
    for finding in examine(_config(options)):
        print(finding, flush=True)
        wrong += not finding.well
    return 1 if wrong else 0


def _run(options: argparse.Namespace) -> int:
    config = _config(options)
    link, pin = where(config)
    keys = Keys(config.key_file)
    prepare(config.folder)
    with lock(config.folder):
        asyncio.run(run(link, pin, keys, config))
    return 0


def where(config: Config) -> tuple[str, bytes | None]:
    """(URL of the link, or of the server where there is to be none; pin): as configured, else as enrolled."""
    enrolled = Enrolled.load(config.folder)
    configured = config.server if config.link == NO_LINK else config.link
    pin = parse_pin(config.pin) if config.pin else None
    if configured:
        return configured, pin
    if enrolled is None:
        raise StateError(NOT_ENROLLED)
    return enrolled.server if config.link == NO_LINK else enrolled.link, pin or bytes.fromhex(enrolled.pin)


async def run(url: str, pin: bytes | None, keys: Keys, config: Config) -> None:
    """Until SIGTERM or SIGINT."""
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    status = Status(config.folder, url)
    status.save()
    with contextlib.suppress(asyncio.CancelledError):
        if config.link == NO_LINK:
            known = {True: keys.accepted, False: keys.refused}
            tunnel = _tunnel(keys, config)
            tell = tunnel.tell if tunnel else None
            reporter = Reporter(url, pin, keys, status, on_known=lambda yes: known[yes](), on_tunnel=tell)
            await _watch(config, status, reporter.register, reporter.run, *([tunnel.run] if tunnel else []))
        else:
            await _keep_link(url, pin, keys, config, status)


def _tunnel(keys: Keys, config: Config) -> Tunnel | None:
    return Tunnel(keys, parse_sshd(config.tunnel)) if config.tunnel else None


async def _keep_link(url: str, pin: bytes | None, keys: Keys, config: Config, status: Status) -> None:
    spool = config.folder / "reports"
    outbox = Outbox.load(spool, QUEUE_LIMIT)
    tunnel = _tunnel(keys, config)
    consoles = Consoles(dial=config.consoles_dial)

    def up(agent: str) -> None:
        keys.accepted()
        status.up(agent)

    link = Link(
        url,
        keys,
        lambda payload: prober.apply(Plan.from_json(payload)),
        outbox,
        pin=pin,
        on_tunnel=tunnel.tell if tunnel else None,
        consoles=consoles,
        on_up=up,
        on_down=status.down,
        on_unknown=keys.refused,
        on_rotate=lambda: asyncio.get_running_loop().run_in_executor(None, _rotate_as_told, config),
    )
    prober = Prober(link.deliver)

    def register(registration: Registration) -> None:
        consoles.offer(registration.ports)
        link.register(registration)

    try:
        await _watch(config, status, register, link.run, *([tunnel.run] if tunnel else []))
    finally:
        prober.close()
        consoles.close()
        outbox.save(spool)


def _rotate_as_told(config: Config) -> None:
    """The link ends once the server has the new key, and comes back with it."""
    from pi_agent.rotation import rotate

    try:
        rotate(config)
    except (IdentityError, PostError, StateError, ValueError, OSError) as error:
        log.warning("the server wants another key: %s", error)


async def _watch(
    config: Config,
    status: Status,
    register: Callable[[Registration], None],
    *runs: Callable[[], Coroutine[None, None, None]],
) -> None:
    def changed(registration: Registration) -> None:
        status.ports = tuple(port.name for port in registration.ports)
        status.save()
        register(registration)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Watcher(Machine(config.wanted).registration, changed).run())
        for run in runs:
            tasks.create_task(run())


if __name__ == "__main__":
    sys.exit(main())
