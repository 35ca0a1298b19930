"""Who gets through the SSH door and what is behind it, told by the real OpenSSH client."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pexpect
import pytest
from django.conf import settings
from django.utils import timezone

from agents.models import Agent
from consoles.models import ConsolePort
from consoles.ssh import limits
from consoles.ssh.limits import Limits, place_of
from core.scope import team_scope
from inventory.models import Device as Router
from inventory.models import sorted_name
from tenancy import ssh
from tenancy.models import SshKey, Team, User
from tenancy.services import member_set
from tests.agents.conftest import HANG, GatewayProcess, wait_for
from tests.consoles.openssh import OpenSsh
from tests.tenancy.test_pages import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ports(team: Team, agent: Agent) -> list[ConsolePort]:
    with team_scope(team.pk):
        router = Router.objects.create(**sorted_name("fw-1"), key="fw-1", changed=timezone.now())
        return [
            ConsolePort.objects.create(agent=agent, name=f"/dev/ttyUSB{number}", title=title, device=device)
            for number, (title, device) in enumerate([("firewall", router), ("R1", None), ("R2\x1b[31m", None)])
        ]


@pytest.fixture
def alices(alice: User, tmp_path: Path) -> OpenSsh:
    return OpenSsh(tmp_path / "alice", alice)


@pytest.fixture
def charlies(charlie: User, tmp_path: Path) -> OpenSsh:
    return OpenSsh(tmp_path / "charlie", charlie)


def test_a_key_opens_for_its_own_person_alone(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh, charlies: OpenSsh, bob: User
) -> None:
    listed = b"red/R1\nred/R2?[31m\nred/firewall\n"
    for login in ("alice", "alice:red", "alice:red/"):
        done = alices.run(login)
        assert (done.returncode, done.stdout) == (0, listed), done.stderr
        assert b"netops consoles: sign in with a key" in done.stderr
    assert wait_for(lambda: SshKey.objects.get(user=alices.user).last_used)
    for login, key in (("bob", alices.key), ("alice", charlies.key), ("nobody", alices.key), (":red", alices.key)):
        refused = alices.run(login, key=key)
        assert refused.returncode == 255
        assert refused.stdout == b""
        assert b"Permission denied" in refused.stderr
    User.objects.filter(username="alice").update(is_active=False)
    assert alices.run("alice").returncode == 255


def test_an_outsider_learns_nothing_of_what_there_is(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh, charlies: OpenSsh
) -> None:
    assert charlies.run("charlie").stdout == b"No consoles yet.\n"
    there = [charlies.run(f"charlie:{each}") for each in ("red", "red/firewall", f"red/{ports[0].pk}")]
    never = [charlies.run(f"charlie:{each}") for each in ("nix", "nix/firewall", f"nix/{ports[0].pk}")]
    for foreign, unknown in zip(there, never, strict=True):
        assert foreign.stderr.replace(b"red", b"nix") == unknown.stderr
        assert b"You are in no team called nix." in unknown.stderr
        assert (foreign.returncode, foreign.stdout) == (unknown.returncode, unknown.stdout) == (1, b"")
    foreign, unknown = (charlies.run(f"charlie:blue/{each}") for each in ("firewall", "nowhere"))
    assert foreign.stderr.replace(b"firewall", b"nowhere") == unknown.stderr
    assert b"No console is called nowhere." in unknown.stderr


def test_a_one_time_password_opens_once_and_the_accounts_own_never(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh, alice: User
) -> None:
    def tried(secret: str, way: str = "keyboard-interactive") -> bool:
        client = alices.sit_with_password("alice:red", way)
        client.expect("assword:")
        client.sendline(secret)
        opened: bool = client.expect(["R1.*> ", "Permission denied"]) == 0
        if opened:
            client.send("q\r")
        client.expect(pexpect.EOF)
        return opened

    secret = ssh.ssh_password_issue(user=alice)
    assert [tried(secret), tried(secret), tried(PASSWORD)] == [True, False, False]
    secret = ssh.ssh_password_issue(user=alice)
    assert [tried(secret, "password"), tried(secret, "password")] == [True, False]


def test_the_list_is_searched_by_typing_and_a_number_opens(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh
) -> None:
    client = alices.sit("alice")
    client.expect("  1  R1 .*  2  R2.*  3  firewall .*fw-1.* on probe1.*> ")
    assert b"\x1b[31m" not in client.before + client.after
    client.send("FX\x7fw\r")
    client.expect("FX\x08 \x08w\r\n.*  1  firewall.*> ")
    assert b"R1" not in client.after
    client.send("nothing\r")
    client.expect("no console has nothing in its name.*  3  firewall.*> ")
    client.send("\x1b[A9\r")
    client.expect("no console has 9 in its name.*> ")
    client.send("q\r")
    client.expect(pexpect.EOF)
    client.close()
    assert client.exitstatus == 0


def test_of_several_teams_the_list_says_which(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh, charlies: OpenSsh, team: Team, charlie: User
) -> None:
    member_set(team=team, user=charlie, role="viewer")
    listed = b"red/R1\nred/R2?[31m\nred/firewall\n"
    assert charlies.run("charlie").stdout == charlies.run("charlie:red").stdout == listed
    assert charlies.run("charlie:blue").stdout == b"No consoles yet.\n"
    client = charlies.sit("charlie")
    client.expect("  3  firewall .*> ")
    client.send("\x04")
    client.expect(pexpect.EOF)


def test_what_is_named_may_be_its_title_its_device_or_its_number(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh
) -> None:
    done = alices.run("alice:red/nowhere")
    assert (done.returncode, b"No console is called nowhere." in done.stderr) == (1, True)
    for wanted in ("firewall", "fw-1", "FW-1", str(ports[0].pk)):
        client = alices.sit(f"alice:red/{wanted}")
        client.expect("firewall of Red team: \\^Ec\\? for help")
        client.send("\x05c.")
        client.expect(pexpect.EOF)
        client.close()
        assert client.exitstatus == 0


def test_it_is_consoles_and_nothing_else(
    gateway: GatewayProcess, ports: list[ConsolePort], alices: OpenSsh, tmp_path: Path
) -> None:
    done = subprocess.run([*alices.command("alice:red/R1"), "id"], capture_output=True, timeout=HANG, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Only consoles are here" in done.stderr

    async def scenario() -> None:
        async with asyncssh.connect(
            "127.0.0.1", settings.CONSOLE_SSH_PORT, username="alice", client_keys=[str(alices.key)],
            known_hosts=str(alices.known), config=None, agent_path=None,
        ) as connection:  # fmt: skip
            for attempt in (
                connection.open_connection("127.0.0.1", settings.CONSOLE_PORT),
                connection.open_unix_connection("/var/run/x"),
            ):
                with pytest.raises(asyncssh.ChannelOpenError):
                    await attempt
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("localhost", 0, "127.0.0.1", 1)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_path(str(tmp_path / "never"), "/tmp/x")
            with pytest.raises((asyncssh.Error, OSError)):
                await asyncio.wait_for(connection.start_sftp_client(), HANG)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run("", x11_forwarding=True, x11_display="localhost:0")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "old", ["-oCiphers=aes128-cbc", "-oMACs=hmac-sha1", "-oKexAlgorithms=diffie-hellman-group14-sha1"]
)
def test_what_is_broken_is_not_spoken(gateway: GatewayProcess, alices: OpenSsh, old: str) -> None:
    option = [old, "-oCiphers=aes256-ctr"] if "MACs" in old else [old]
    done = alices.run("alice", *option)
    assert done.returncode == 255
    assert b"no matching" in done.stderr


def test_too_many_connections_of_one_address_are_closed(gateway: GatewayProcess, alices: OpenSsh) -> None:
    address = ("127.0.0.1", settings.CONSOLE_SSH_PORT)
    held = [socket.create_connection(address, HANG) for _ in range(limits.CONNECTIONS)]
    try:
        assert all(each.recv(20).startswith(b"SSH-2.0-netops") for each in held)
        done = alices.run("alice")
        assert (done.returncode, done.stdout) == (255, b"")
    finally:
        for each in held:
            each.close()
    assert wait_for(lambda: alices.run("alice").returncode == 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_of_an_address_and_wrong_passwords_for_a_name_have_an_end(monkeypatch: Any) -> None:
    clock = Clock()
    door = Limits(clock)
    for _ in range(limits.FAILURES):
        assert door.enter("192.0.2.1")
        door.failures.count("192.0.2.1")
        door.leave("192.0.2.1")
    assert not door.enter("192.0.2.1")
    assert door.enter("192.0.2.2")
    clock.now += limits.FAILURES_S
    assert door.enter("192.0.2.1")
    for _ in range(limits.WRONG):
        assert not door.wrong.spent("alice")
        door.wrong.count("alice")
    assert door.wrong.spent("alice")
    assert not door.wrong.spent("bob")
    monkeypatch.setattr(limits, "MOST", 3)
    for name in ("a", "b", "c", "d"):
        door.wrong.count(name)
    assert not door.wrong.spent("alice"), "strangers' names do not fill the memory"


def test_an_address_is_one_household() -> None:
    assert place_of("2001:db8::1") == place_of("2001:db8::ffff") != place_of("2001:db8:0:1::1")
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1")
    assert place_of("fe80::1%eth0") == place_of("fe80::2")
