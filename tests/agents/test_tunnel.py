"""The SSH server of a real gateway, by the agent's own tunnel, by asyncssh and by OpenSSH."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.conf import settings

from agents import tls
from agents.enrolment import agent_revoke
from agents.models import Agent
from agents.services import tunnel_port
from core.scope import team_scope
from pi_agent.frames import TunnelTerms
from pi_agent.identity import Identity
from pi_agent.link import boot_id
from pi_agent.registration import Registration
from pi_agent.tunnel import Tunnel
from tenancy.models import Team
from tests.agents.conftest import HANG, GatewayProcess, linked, until
from tests.agents.programs import Program


@asynccontextmanager
async def machine() -> AsyncIterator[int]:
    """What stands for the sshd of the agent's machine: it says hello. Its port."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-machine\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def terms(port: int) -> TunnelTerms:
    return TunnelTerms("127.0.0.1", settings.SSH_PORT, port, tls.host_key())


def row(team: Team) -> Any:
    with team_scope(team.pk):
        return Agent.objects.get()


def port_of(team: Team, agent: Agent) -> int:
    with team_scope(team.pk):
        return tunnel_port(agent_id=agent.pk)


async def greeting(port: int) -> bytes:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        return await asyncio.wait_for(reader.read(15), HANG)
    except OSError:
        return b""
    finally:
        writer.close()


async def greeted(port: int, wanted: bytes) -> None:
    async with asyncio.timeout(HANG):
        while await greeting(port) != wanted:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def tunnelled(identity: Identity, port: int, sshd: int) -> AsyncIterator[None]:
    tunnel = Tunnel(identity, ("127.0.0.1", sshd), backoff=(0.05, 0.2))
    tunnel.tell(terms(port))
    task = asyncio.create_task(tunnel.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def connected(identity: Identity) -> Any:
    pem = identity.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return await asyncssh.connect(
        "127.0.0.1", settings.SSH_PORT, username="agent", client_keys=[asyncssh.import_private_key(pem)],
        known_hosts=([asyncssh.import_public_key(tls.host_key())], [], []), config=None, agent_path=None,
    )  # fmt: skip


def test_the_tunnel_leads_to_the_machine_and_comes_back_after_the_gateway(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    port = port_of(team, agent)

    async def scenario() -> None:
        async with machine() as sshd, tunnelled(identity, port, sshd):
            await greeted(port, b"SSH-2.0-machine")
            await asyncio.to_thread(gateway.kill)
            await greeted(port, b"")
            await asyncio.to_thread(gateway.start)
            await greeted(port, b"SSH-2.0-machine")

    asyncio.run(scenario())


def test_the_link_says_where_the_tunnel_may_be(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    told: list[TunnelTerms] = []

    async def scenario() -> None:
        async with linked(identity, on_tunnel=told.append) as link:
            link.register(Registration("pi", "", "", "", "0.1.0", boot_id(), 1, (), ()))
            await until(lambda: told)

    asyncio.run(scenario())
    assert told == [terms(port_of(team, agent))]


def test_without_a_link_the_answer_to_a_registration_says_where_and_it_closes_with_the_agent(
    program: Program, team: Team
) -> None:
    async def scenario() -> None:
        async with machine() as sshd:
            tunnel = {"NETOPS_AGENT_LINK": "none", "NETOPS_AGENT_TUNNEL": f"127.0.0.1:{sshd}"}
            with program.running(**tunnel):
                await until(lambda: row(team).tunnel_port)
                port = (await asyncio.to_thread(row, team)).tunnel_port
                await greeted(port, b"SSH-2.0-machine")
            await greeted(port, b"")

    asyncio.run(scenario())


def test_it_is_one_port_and_nothing_else(gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity) -> None:
    port = port_of(team, agent)

    async def scenario() -> None:
        async with machine() as sshd, await connected(identity) as connection:
            for host, wanted in (("localhost", port + 1), ("localhost", 0), ("", port), ("0.0.0.0", port)):
                with pytest.raises(asyncssh.ChannelListenError):
                    await connection.forward_remote_port(host, wanted, "127.0.0.1", sshd)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_path("/tmp/netops-never", "/tmp/x")
            for attempt in (
                connection.run("id"), connection.create_process(), connection.start_sftp_client(),
                connection.open_connection("127.0.0.1", sshd), connection.open_unix_connection("/var/run/x"),
            ):  # fmt: skip
                with pytest.raises(asyncssh.ChannelOpenError):
                    await attempt
            await connection.forward_remote_port("localhost", port, "127.0.0.1", sshd)
            assert await greeting(port) == b"SSH-2.0-machine"

    asyncio.run(scenario())


def test_no_other_key_no_password_and_no_key_of_another_kind(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        with pytest.raises(asyncssh.PermissionDenied):
            await connected(Identity(Ed25519PrivateKey.generate()))
        for secret in ({"client_keys": [asyncssh.generate_private_key("ssh-rsa")]}, {"password": "agent"}):
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    "127.0.0.1", settings.SSH_PORT, username="agent", known_hosts=None, config=None, agent_path=None,
                    **{"client_keys": None, **secret},
                )  # fmt: skip

    asyncio.run(scenario())


def test_a_newer_tunnel_takes_the_port_over_and_revoking_cuts_it(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    port = port_of(team, agent)

    def revoke() -> None:
        with team_scope(team.pk):
            agent_revoke(agent=Agent.objects.get(pk=agent.pk))

    async def scenario() -> None:
        async with machine() as sshd, await connected(identity) as older:
            await older.forward_remote_port("localhost", port, "127.0.0.1", sshd)
            async with await connected(identity) as newer:
                await asyncio.wait_for(older.wait_closed(), HANG)
                await newer.forward_remote_port("localhost", port, "127.0.0.1", sshd)
                assert await greeting(port) == b"SSH-2.0-machine"
                await asyncio.to_thread(revoke)
                await asyncio.wait_for(newer.wait_closed(), HANG)
        assert await greeting(port) == b""
        with pytest.raises(asyncssh.PermissionDenied):
            await connected(identity)

    asyncio.run(scenario())


@pytest.fixture
def openssh(tmp_path: Path, identity: Identity) -> int:
    """A port for OpenSSH's sshd; skipped where it is not installed (`make dev` as root installs it)."""
    if not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
        pytest.skip("openssh-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_it_works_against_a_plain_openssh_server(openssh: int, tmp_path: Path, identity: Identity) -> None:
    """As docs/agent.md says: `restrict,port-forwarding,permitlisten`."""
    key = identity.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    authorized = tmp_path / "authorized_keys"
    authorized.write_text(f'restrict,port-forwarding,permitlisten="localhost:{port}" {key}\n')
    host = asyncssh.generate_private_key("ssh-ed25519")
    host.write_private_key(str(tmp_path / "host"))
    (tmp_path / "host").chmod(0o600)
    config = tmp_path / "config"
    config.write_text(
        f"Port {openssh}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {authorized}\n"
        f"StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True)

    async def scenario() -> None:
        offered = TunnelTerms("127.0.0.1", openssh, port, host.export_public_key().decode().strip())
        async with machine() as sshd:
            tunnel = Tunnel(identity, ("127.0.0.1", sshd), backoff=(0.05, 0.2), user="root")
            tunnel.tell(offered)
            task = asyncio.create_task(tunnel.run())
            await greeted(port, b"SSH-2.0-machine")
            task.cancel()

    try:
        asyncio.run(scenario())
    finally:
        process.terminate()
        process.communicate(timeout=HANG)
