"""The lab process: binds its doors in the outer namespace, then builds the network inside and serves both."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.agent import Agent
from lab.client import SOCKET
from lab.control import Control
from lab.namespace import enter_user_namespace, needs_namespaces
from lab.network import ASN, Network
from lab.speaker import Speaker
from lab.topology import Topology
from lab.wire import Pump, Standstills

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class StartError(Exception):
    """Something the user gave cannot be used; one sentence with the fix."""


def run(topology: Topology, state: Path, bgp: tuple[str, int], agent: tuple[str, list[str]] | None) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError or LabUnavailable before it is ready."""
    if agent and agent[0] not in topology.names:
        raise StartError(f"--agent must name one of {', '.join(topology.names)}, not {agent[0]}")
    with _control_socket(state) as control, _bgp_socket(*bgp) as listener:
        # A busy machine must not look like a lossy network; only root may ask for this.
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -10)
        enter_user_namespace()
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asyncio.run(_serve(topology, control, listener, agent))


async def _serve(
    topology: Topology, control_socket: socket.socket, listener: socket.socket, command: tuple[str, list[str]] | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pump = Pump(loop)
    try:
        network = Network(topology, pump)
    except OSError as error:
        raise needs_namespaces(error) from None
    speaker = Speaker(ASN, network.link_state())
    agent = None
    if command:
        agent = Agent(loop, command[0], network.nodes[command[0]].namespace.fd, command[1])
        try:
            agent.start()
        except OSError as error:
            raise StartError(f"cannot run {command[1][0]} in {command[0]}: {error.strerror}") from None
    host, port = listener.getsockname()
    control = Control(network, speaker, f"{host}:{port}", agent, Standstills(loop))
    await asyncio.start_server(_until_exit(speaker.serve), sock=listener)
    await asyncio.start_unix_server(_until_exit(control.serve), sock=control_socket)
    print(f"lab is ready: {len(topology.routers)} routers, {len(topology.links)} links", flush=True)
    await stop.wait()
    speaker.close()
    if agent:
        await agent.stop()
    pump.close()


def _until_exit(serve: Handler) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # Python 3.11 would print it at exit
            await serve(reader, writer)

    return handler


@contextmanager
def _control_socket(state: Path) -> Iterator[socket.socket]:
    """The control socket in a state folder that no other lab uses."""
    path = state / SOCKET
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "lab.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use {state} as --state: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartError(f"another lab is running at {state}: stop it, or give this one another --state") from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        try:
            path.unlink(missing_ok=True)
            control.bind(str(path))
            path.chmod(0o600)
        except OSError as error:
            raise StartError(f"cannot make {path}: {error.strerror or error}") from None
        try:
            yield control
        finally:
            path.unlink(missing_ok=True)
            os.close(lock)


def _bgp_socket(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen for BGP on {host}:{port} ({error.strerror or error}): give --bgp another address"
        ) from None
    return listener
