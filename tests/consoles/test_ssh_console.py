"""At a console with the real OpenSSH client: bytes both ways, the same locks as in the browser, conserver's escapes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pexpect
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from consoles.models import ConsoleVisit
from consoles.ssh.escapes import Escapes
from consoles.ssh.limits import WRONG
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import SshPassword, Team, User
from tenancy.services import member_set
from tenancy.ssh import ssh_key_remove, ssh_password_issue
from tests.agents.conftest import HANG, GatewayProcess, wait_for
from tests.consoles.conftest import Device, agent_with, browsing, held, opened
from tests.consoles.openssh import OpenSsh

pytestmark = pytest.mark.django_db(transaction=True)


class Seated:
    """Somebody at a terminal, for code with an event loop."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def sees(self, pattern: str | bytes) -> bytes:
        """Waits for it; what came before."""
        await asyncio.to_thread(self._client.expect, pattern)
        before: bytes = self._client.before
        return before

    async def types(self, keys: str | bytes) -> None:
        await asyncio.to_thread(self._client.send, keys)

    async def ended(self) -> int:
        await asyncio.to_thread(self._client.expect, pexpect.EOF)
        await asyncio.to_thread(self._client.close)
        return int(self._client.exitstatus)


@asynccontextmanager
async def seated(ssh: OpenSsh, login: str) -> AsyncIterator[Seated]:
    """At the console, once it has said how to get help."""
    client = await asyncio.to_thread(ssh.sit, login)
    person = Seated(client)
    try:
        await person.sees("for the last lines, \\^Ec\\. to leave]\r\n")
        yield person
    finally:
        await asyncio.to_thread(client.close, True)


def test_two_look_on_one_types_and_whoever_leaves_was_there(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User, bob: User,
    tmp_path: Path,
) -> None:  # fmt: skip
    alices, bobs = OpenSsh(tmp_path / "alice", alice), OpenSsh(tmp_path / "bob", bob)

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            await device.say(b"".join(b"line %d\r\n" % number for number in range(100)))
            async with seated(alices, f"alice:red/{port.pk}") as alice, seated(bobs, f"bob:red/{port.pk}") as bob:
                await bob.sees("You may look on here, not type")
                await alice.types("show version\r")
                await held(lambda: device.listen() == b"show version\r")
                await device.say(b"IOS \xc3\xa9 \x1b[31mred\x1b[6n\x1b]52;c;aGk=\x07!")
                for each in (alice, bob):
                    await each.sees(rb"IOS \xc3\xa9 \x1b\[31mred!")
                await bob.types("reload\r")
                await bob.sees("You may look on here, not type")
                await alice.types("\x05cw")
                await alice.sees("alice by ssh: .*\\(you\\)\r\n bob by ssh: looks on\r\n")
                await alice.types("\x05cr")
                shown = await alice.sees("red!")
                assert shown.split()[:4] == [b"line", b"81", b"line", b"82"]
                await alice.types("\x05c?")
                await alice.sees("\\^Ecl0  send a break")
                await alice.types("\x05cl0\x05c\x05x")
                await held(lambda: device.listen() == b"show version\r\x05x")
                await alice.types("\x05cz")
                await alice.sees("unknown: \\^Ec\\? tells")
                await alice.types("\x05c.")
                assert await alice.ended() == 0

    asyncio.run(scenario())

    def noted() -> bool:
        with team_scope(team.pk):
            visits = ConsoleVisit.objects.exclude(ended=None).values_list("who", "via", "typed_first")
            return {(who, via, first is not None) for who, via, first in visits} == {
                ("alice", "ssh", True), ("bob", "ssh", False),
            }  # fmt: skip

    assert wait_for(noted)


def test_the_lock_is_the_browsers(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    alice_client: Client, tmp_path: Path,
) -> None:  # fmt: skip
    olga = User.objects.create_user("olga")
    member_set(team=team, user=olga, role="operator")
    olgas, alices = OpenSsh(tmp_path / "olga", olga), OpenSsh(tmp_path / "alice", alice)

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            async with browsing(alice_client, port) as browser, seated(olgas, f"olga:red/{port.pk}") as olga:
                await olga.types("\x05ca")
                await olga.sees("you have this console to yourself")
                await browser.socket.send(b"x")
                await held(lambda: "olga has this console" in browser.last("refused").get("sentence", ""))
                await browser.socket.send('{"type": "ask", "what": "request"}')
                await olga.sees("alice asks for this console")
                await olga.types("\x05c+")
                await olga.sees("alice has this console to themselves")
                await olga.types("y")
                await olga.sees("alice has this console to themselves: nothing was sent")
                await olga.types("\x05cf")
                await olga.sees("Only admins and owners take a console over")
                await browser.socket.send('{"type": "ask", "what": "release"}')
                await olga.sees("everybody may type again")
                await olga.types("\x05cs")
                await olga.sees("spying")
                await olga.types("z")
                await olga.sees("spying: \\^Eca to type")
                await olga.types("\x05ca")
                await olga.sees("attached")
                await olga.types("o\x05ca")
                await olga.sees("you have this console to yourself")
                async with seated(alices, f"alice:red/{port.pk}") as alice:
                    await alice.types("\x05cf")
                    await alice.sees("you have this console to yourself")
                    await olga.sees("alice took this console over")
                    await alice.types("a")
                    await held(lambda: device.listen() == b"oa")
                await olga.sees("everybody may type again")

    asyncio.run(scenario())


def test_whoever_loses_the_key_or_the_seat_is_out_at_once(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User, bob: User,
    tmp_path: Path,
) -> None:  # fmt: skip
    alices, bobs = OpenSsh(tmp_path / "alice", alice), OpenSsh(tmp_path / "bob", bob)

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            async with seated(alices, f"alice:red/{port.pk}") as alice, seated(bobs, f"bob:red/{port.pk}") as bob:
                await asyncio.to_thread(ssh_key_remove, key=bobs.added)
                await bob.sees("You are not let in here any more")
                assert await bob.ended() == 1
                await alice.types("still here")
                await held(lambda: device.listen() == b"still here")

    asyncio.run(scenario())
    assert bobs.run("bob").returncode == 255


def test_without_a_terminal_bytes_pass_as_they_are(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    tmp_path: Path,
) -> None:  # fmt: skip
    alices, bytes_ = OpenSsh(tmp_path / "alice", alice), bytes(range(256)) + b"\x05c.\x1b[6n\xff"

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            script = await asyncio.create_subprocess_exec(
                *alices.command(f"alice:red/{port.pk}", "-T"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert script.stdin
            assert script.stdout
            script.stdin.write(bytes_)
            await held(lambda: device.listen() == bytes_)
            await device.say(bytes_)
            async with asyncio.timeout(HANG):
                assert await script.stdout.readexactly(len(bytes_)) == bytes_
                script.stdin.close()
                assert await script.wait() == 0

    asyncio.run(scenario())


def test_wrong_passwords_for_a_name_are_throttled_even_the_right_one_but_not_the_key(
    gateway: GatewayProcess, alice: User, tmp_path: Path
) -> None:
    ssh, secret = OpenSsh(tmp_path / "alice", alice), ssh_password_issue(user=alice)
    for tried in (*["wrong"] * WRONG, secret):
        client = ssh.sit_with_password("alice")
        client.expect("assword:")
        client.sendline(tried)
        client.expect("Permission denied")
        client.close(True)
    assert SshPassword.objects.filter(user=alice).exists()
    assert ssh.run("alice").returncode == 0


@given(typed=st.binary(max_size=8) | st.just(b"a\x05cl0\x05cs\x05c\x05b\x05c.x"), cuts=st.lists(st.integers(0, 20)))
def test_escapes_are_read_however_they_are_cut(typed: bytes, cuts: list[int]) -> None:
    def read(*chunks: bytes) -> list[Any]:
        escapes, found = Escapes(), []
        for chunk in chunks:
            for command, keys in escapes.feed(chunk):
                found += [command] if command else [*keys]
        return found

    places = sorted({0, len(typed), *(min(each, len(typed)) for each in cuts)})
    whole = read(typed)
    assert read(*(typed[a:b] for a, b in pairwise(places))) == whole
    if b"\x05" not in typed:
        assert bytes(whole) == typed
