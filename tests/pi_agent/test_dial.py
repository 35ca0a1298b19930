"""Consoles that are dialled: a real ser2net, a real sshd, and an SSH server that takes a break."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncssh
import pytest

from pi_agent import dial
from pi_agent.dial import Dial
from pi_agent.lines import Far
from pi_agent.telnet import COM_PORT, WILL, Telnet
from tests.ticketing.smtp import free_port

HANG = 30.0


class Ear:
    """What a dialled console gave, and how it was said to be."""

    def __init__(self) -> None:
        self.heard = b""
        self.states: list[str] = []
        self.dial = Dial("far", self._hear, self.states.append)

    def _hear(self, data: bytes) -> None:
        self.heard += data


@asynccontextmanager
async def dialled(far: Far, *, allowed: bool = True) -> AsyncIterator[Ear]:
    ear = Ear()
    ear.dial.use(far, allowed)
    try:
        yield ear
    finally:
        ear.dial.close()


async def held(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "BACKOFF", (0.02, 0.2))


@contextmanager
def ser2net(folder: Path, port: int, options: str) -> Iterator[int]:
    """The program in front of a pseudo-terminal, whose other end is given."""
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    config = folder / "ser2net.yaml"
    config.write_text(
        f"connection: &one\n  accepter: {options}tcp,127.0.0.1,{port}\n"
        f"  connector: serialdev,{os.ttyname(far)},9600n81,local\n"
    )
    program = shutil.which("ser2net", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "apt-get install ser2net"
    process = subprocess.Popen(
        [program, "-n", "-d", "-c", str(config), "-P", str(folder / "pid")], stderr=subprocess.DEVNULL
    )
    try:
        yield near
    finally:
        process.kill()
        process.wait()
        os.close(near)
        os.close(far)


@pytest.mark.parametrize(("proto", "options"), [("telnet", "telnet(rfc2217),"), ("raw", "")])
def test_ser2net_is_dialled_and_dialled_again(tmp_path: Path, proto: str, options: str) -> None:
    port = free_port()
    everything = bytes(range(256))

    async def scenario() -> None:
        async with dialled(Far(proto, "127.0.0.1", port)) as ear:
            await held(lambda: any("cannot be reached" in each for each in ear.states))
            for _ in range(2):
                with ser2net(tmp_path, port, options) as device:
                    await held(lambda: ear.states[-1] == "")
                    assert ear.dial.write(everything) == ""
                    got = b""
                    async with asyncio.timeout(HANG):
                        while len(got) < len(everything):
                            await asyncio.sleep(0.005)
                            try:
                                got += os.read(device, 4096)
                            except BlockingIOError:
                                continue
                    assert got == everything
                    ear.heard = b""
                    os.write(device, b"R1>\r\n\r\0" + everything)
                    await held(lambda: len(ear.heard) >= 263)
                    assert ear.heard == b"R1>\r\n\r\0" + everything
                    assert (ear.dial.send_break() == "") == (proto == "telnet")
                await held(lambda: ear.states[-1] != "")
            assert "is not dialled" not in "".join(ear.states)
            assert "far cannot be reached" in ear.dial.write(b"x") or "far was closed" in ear.dial.write(b"x")

    asyncio.run(scenario())


def test_nothing_is_dialled_that_is_not_allowed() -> None:
    async def scenario() -> None:
        came = asyncio.Event()

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            writer.close()

        server = await asyncio.start_server(met, "127.0.0.1", 0)
        far = Far("raw", "127.0.0.1", server.sockets[0].getsockname()[1])
        async with dialled(far, allowed=False) as ear:
            assert ear.states == [
                f"is not dialled: {far.address} is not in consoles.dial of this agent's configuration"
            ]
            assert "is not dialled" in ear.dial.write(b"x")
            ear.dial.use(far, True)
            await asyncio.wait_for(came.wait(), HANG)
        server.close()

    asyncio.run(scenario())


def test_a_break_by_telnet_is_rfc_2217s_where_that_is_agreed() -> None:
    async def scenario() -> None:
        parts: list[bytes] = []
        breaks: list[int] = []

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            both = frozenset((COM_PORT,))
            telnet = Telnet(both, both, lambda _, part: parts.append(part), lambda: breaks.append(1))
            while data := await reader.read(1000):
                telnet.receive(data)
                writer.write(bytes(telnet.out) + b"\xff\xfb\x01" * 3)
                telnet.out.clear()
            writer.close()

        server = await asyncio.start_server(met, "127.0.0.1", 0)
        async with dialled(Far("telnet", "127.0.0.1", server.sockets[0].getsockname()[1])) as ear:
            await held(lambda: ear.states == [""])
            await held(lambda: ear.dial.send_break() == "" and parts)
            await held(lambda: b"\x05\x05" in parts and b"\x05\x06" in parts)
        server.close()

    asyncio.run(scenario())
    assert WILL == 251


def test_openssh_is_known_by_its_key_and_refuses_a_wrong_password(tmp_path: Path) -> None:
    port = free_port()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    Path("/run/sshd").mkdir(exist_ok=True)
    options = ["-o", f"PidFile={tmp_path}/pid", "-o", "UsePAM=no", "-o", "ListenAddress=127.0.0.1"]
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-p", str(port), "-h", str(tmp_path / "key"), *options],
        stderr=subprocess.DEVNULL,
    )

    async def scenario() -> None:
        there = ("ssh", "127.0.0.1", port, "nobody", "wrong")
        async with dialled(Far(*there)) as ear:
            await held(lambda: any(f"is {key.get_fingerprint()}; enter it" in each for each in ear.states))
        async with dialled(Far(*there, host_key=key.get_fingerprint())) as ear:
            await held(lambda: any("refuses this user name or password" in each for each in ear.states))
            assert "wrong" not in "".join(ear.states).replace("this user name or password", "")

    try:
        asyncio.run(scenario())
    finally:
        process.kill()
        process.wait()


def test_a_console_by_ssh(tmp_path: Path) -> None:
    breaks: list[int] = []

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("admin:line3", "hunter2-correct")

    async def served(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(f"{process.command} {process.get_terminal_type()}\r\nR1>".encode())
        while True:
            try:
                if not (data := await process.stdin.read(100)):
                    break
            except asyncssh.BreakReceived as told:
                breaks.append(told.msec)
                continue
            process.stdout.write(b"echo " + data)
        process.exit(0)

    async def scenario() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=Server, process_factory=served, encoding=None,
            line_editor=False,
        )  # fmt: skip
        far = Far(
            "ssh",
            "127.0.0.1",
            server.get_port(),
            "admin:line3",
            "hunter2-correct",
            "console fw-1",
            key.get_fingerprint(),
        )
        assert "hunter2" not in repr(far)
        async with dialled(far) as ear:
            await held(lambda: ear.heard == b"console fw-1 vt100\r\nR1>")
            assert ear.dial.write(b"show\r\xff") == ""
            await held(lambda: ear.heard.endswith(b"echo show\r\xff"))
            assert ear.dial.send_break() == ""
            await held(lambda: breaks == [300])
        server.close()

    asyncio.run(scenario())
