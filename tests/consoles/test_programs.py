"""Programs at a console: a run by REST, the documented socket, listeners for scripts; who may, and who may not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import serial
from django.db import connection
from django.test import Client
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from consoles.models import ConsolePort
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import ApiToken, Team, User
from tenancy.services import token_create, token_revoke
from tests.agents.conftest import HANG, GatewayProcess
from tests.consoles.conftest import Device, agent_with, browsing, held, opened

END = 2**62
T = TypeVar("T")
pytestmark = pytest.mark.django_db(transaction=True)


def post(client: Client, port: ConsolePort, what: str, body: Any = None, token: str = "") -> Any:
    headers = {"Authorization": f"Token {token}"} if token else {}
    url = f"/api/consoles/ports/{port.pk}/{what}/"
    return client.post(url, body or {}, content_type="application/json", headers=headers)


async def beside(work: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """In a thread, which gives its connection back."""

    def call() -> T:
        try:
            return work(*arguments, **more)
        finally:
            connection.close()

    return await asyncio.to_thread(call)


async def asked(*arguments: Any, **more: Any) -> Any:
    return await beside(post, *arguments, **more)


def test_a_run_answers_what_the_port_says(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device,
    alice_client: Client, bob_client: Client, charlie_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            await device.say(b"of before\r\n")
            token = await beside(token_create, team=team, role="operator")
            body = {"send": "show version\r", "expect": r"R1[>#] ?$", "timeout": 50}
            running = asyncio.create_task(asked(Client(), port, "run", body, token=token))
            await held(lambda: device.listen() == b"show version\r")
            await device.say(b"show version\r\nIOS \x1b[1m15\x1b[0m \xff\r\nR1>")
            answer = await running
            assert answer.status_code == 200, answer.content
            assert answer.json() == {
                "output": "show version\r\nIOS \x1b[1m15\x1b[0m \ufffd\r\nR1>",
                "text": "show version\nIOS 15 \ufffd\nR1>",
                "matched": "R1>",
                "cut": False,
            }
            answer = await asked(alice_client, port, "run", {"send": "x", "expect": "never", "timeout": 0.2})
            assert (answer.json()["matched"], device.listen()[-1:]) == (None, b"x")
            for wrong, named in [
                ({}, "send"), ({"expect": "("}, "expect"), ({"expect": "(?=a)"}, "expect"),
                ({"send": "x" * 20000}, "send"),
                ({"send": "x", "timeout": 3600}, "timeout"), ({"send": "x", "expect": "(" * 1001}, "expect"),
            ]:  # fmt: skip
                answer = await asked(alice_client, port, "run", wrong)
                assert (answer.status_code, list(answer.json())) == (400, [named]), answer.content
            assert (await asked(bob_client, port, "run", body)).status_code == 403
            for what in ("run", "ticket", "socket"):
                assert (await asked(charlie_client, port, what, body)).status_code == 404
        answer = await asked(alice_client, port, "run", {"send": "x"})
        assert answer.status_code == 409
        assert "agent is not connected" in answer.json()["detail"]

    asyncio.run(scenario())


def test_a_flood_ends_a_run_and_a_gateway_that_is_away_is_told(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice_client: Client
) -> None:
    async def scenario() -> ConsolePort:
        async with agent_with(identity, device):
            port = await opened(team, device)
            running = asyncio.create_task(
                asked(alice_client, port, "run", {"send": "x", "expect": "(a+)+b", "timeout": 50})
            )
            await held(lambda: device.listen() == b"x")
            await device.say(b"a" * (300 << 10))
            told = (await running).json()
            assert (len(told["output"]), told["matched"], told["cut"]) == (256 << 10, None, True)
            return port

    port = asyncio.run(scenario())
    gateway.stop()
    answer = post(alice_client, port, "run", {"send": "x"})
    assert (answer.status_code, answer.json()) == (503, {"detail": "The gateway cannot be reached: see that it runs."})


async def heard(socket: ClientConnection, kind: str = "") -> Any:
    """The next text of a kind, or else the next bytes."""
    async with asyncio.timeout(HANG):
        async for message in socket:
            if isinstance(message, bytes) or kind:
                told = message if isinstance(message, bytes) else json.loads(message)
                if not kind or (isinstance(told, dict) and told["type"] == kind):
                    return told
    raise AssertionError(f"closed with {socket.close_code} before {kind or 'bytes'}")


@asynccontextmanager
async def program(client: Client, port: ConsolePort, **first: Any) -> AsyncIterator[ClientConnection]:
    told = (await asked(client, port, "ticket")).json()
    async with connect(told["url"].replace("testserver", "127.0.0.1"), compression=None) as socket_:
        await socket_.send(json.dumps({"ticket": told["ticket"], **first}))
        yield socket_


def test_who_has_a_console_alone_is_not_typed_over(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    alice_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            token = await beside(token_create, team=team, role="operator", name="cron", user=alice)
            async with browsing(alice_client, port) as browser:
                await held(lambda: browser.last("hello"))
                await browser.ask("request")
                await held(lambda: (browser.last("people").get("lock") or {}).get("who") == "alice")
                answer = await asked(Client(), port, "run", {"send": "reload\r"}, token=token)
                assert answer.status_code == 409
                assert "alice" in answer.json()["detail"]
                told = (await asked(Client(), port, "socket", {"mode": "raw"}, token=token)).json()
                reader, writer = await script(told, told["token"])
                await held(lambda: "token cron" in str(browser.last("people")))
                writer.write(b"reload\r")
                assert await to_the_end(reader) == b""
                writer.close()
                await browser.socket.send(b"!")
                await held(lambda: device.listen() == b"!")

    asyncio.run(scenario())


def _only_token(team: Team) -> int:
    with team_scope(team.pk):
        pk: int = ApiToken.objects.get().pk
        return pk


def test_a_token_opens_the_socket_once_and_only_as_long_as_it_lives(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            token = await beside(token_create, team=team, role="operator", user=alice)
            told = (await asked(Client(), port, "ticket", token=token)).json()
            url = told["url"].replace("testserver", "127.0.0.1")
            first = json.dumps({"ticket": told["ticket"], "from": END})
            async with connect(url, compression=None) as socket_:
                await socket_.send(first)
                hello = await heard(socket_, "hello")
                assert (hello["type"], hello["writes"]) == ("hello", True)
                await device.say(b"\xffR1>")
                message = await heard(socket_)
                offset = int.from_bytes(message[:8], "big")
                assert (message[8:], hello["from"] <= offset <= hello["from"] + 1) == (b"\xffR1>", True)
                await socket_.send(b"ls\r")
                await held(lambda: device.listen() == b"ls\r")
                async with connect(url, compression=None) as second:
                    await second.send(first)
                    assert "not valid" in (await heard(second, "refused"))["sentence"]
                async with connect(
                    url.removesuffix("/program"), compression=None, origin=Origin("http://localhost")
                ) as page:
                    spare = (await asked(Client(), port, "ticket", token=token)).json()["ticket"]
                    await page.send(json.dumps({"ticket": spare}))
                    assert "not valid" in (await heard(page, "refused"))["sentence"]
                pk = await beside(_only_token, team)
                await beside(token_revoke, team=team, pk=pk)
                assert "not let in" in (await heard(socket_, "refused"))["sentence"]
                await asyncio.wait_for(socket_.wait_closed(), HANG)
                assert socket_.close_code == 4404
            async with program(bob_client, port, **{"from": END}) as watching:
                assert (await heard(watching, "hello"))["writes"] is False
                await watching.send(b"reload\r")
                assert "look on" in (await heard(watching, "refused"))["sentence"]
            assert device.listen() == b"ls\r"

    asyncio.run(scenario())


def test_the_example_of_the_docs_works(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, live_server: Any
) -> None:
    page = Path(__file__).parents[2] / "docs" / "consoles.md"
    example = re.search(r"^```python\n(import json.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert example

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            token = await beside(token_create, team=team, role="operator")
            where = {"NETOPS": live_server.url, "TOKEN": token, "PORT": str(port.pk)}
            run = await asyncio.create_subprocess_exec(
                sys.executable, "-c", example[1], env={**os.environ, **where}, stdout=asyncio.subprocess.PIPE
            )
            await held(lambda: device.listen() == b"show clock\r")
            await device.say(b"show clock\r\n12:00\r\nR1> ")
            said, _ = await asyncio.wait_for(run.communicate(), HANG)
            assert said == b"show clock\r\n12:00\r\nR1> \n"

    asyncio.run(scenario())


async def script(port: dict[str, Any], token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(port["host"], port["port"])
    writer.write(token.encode() + b"\n")
    return reader, writer


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), HANG)
    except ConnectionResetError:  # closed before all was read that we sent
        return b""


def test_a_script_has_a_raw_socket_with_its_token_once(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device,
    alice_client: Client, bob_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            await device.say(b"of before")
            told = (await asked(alice_client, port, "socket", {"mode": "raw"})).json()
            assert told["host"] == "127.0.0.1"
            reader, writer = await script(told, told["token"])
            writer.write(b"show\r\xff")
            await held(lambda: device.listen() == b"show\r\xff")
            await device.say(b"R1>\xff\r\n")
            assert await asyncio.wait_for(reader.readexactly(6), HANG) == b"R1>\xff\r\n"
            with pytest.raises(OSError):
                await asyncio.open_connection(told["host"], told["port"])
            writer.close()
            for client, secret in ((alice_client, "wrong"), (bob_client, "")):
                told = (await asked(client, port, "socket", {"mode": "raw"})).json()
                reader, writer = await script(told, secret or told["token"])
                writer.write(b"reload\r")
                assert await to_the_end(reader) == b"", "who may not type is cut off"
                writer.close()
            assert device.listen() == b"show\r\xff"
            assert (await asked(alice_client, port, "socket", {"mode": "ssh"})).status_code == 400

    asyncio.run(scenario())


def _settings(team: Team, port: ConsolePort) -> tuple[int, str, str]:
    with team_scope(team.pk):
        now = ConsolePort.objects.get(pk=port.pk)
        return now.baud, now.parity, now.flow


def test_pyserial_talks_rfc_2217_once_it_gave_the_token(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device,
    alice_client: Client, alice: User,
) -> None:  # fmt: skip
    def talk(told: dict[str, Any], **settings: Any) -> serial.Serial:
        url = f"rfc2217://{told['host']}:{told['port']}"
        made = serial.serial_for_url(url, timeout=HANG, **settings)
        made.write(told["token"].encode() + b"\n")
        return made

    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            told = (await asked(alice_client, port, "socket", {"mode": "rfc2217"})).json()
            line = await asyncio.to_thread(talk, told, baudrate=115200, parity="E", xonxoff=True)
            await asyncio.to_thread(line.write, b"show\r\xff\n")
            await held(lambda: device.listen() == b"show\r\xff\n")
            assert await beside(_settings, team, port) == (115200, "even", "xonxoff")
            await device.say(b"R1>\xff\r\0\r\n")
            assert await asyncio.to_thread(line.read, 8) == b"R1>\xff\r\0\r\n"
            await asyncio.to_thread(line.send_break, 0.01)
            await asyncio.to_thread(line.close)
            token = await beside(token_create, team=team, role="operator", user=alice)
            told = (await asked(Client(), port, "socket", {"mode": "rfc2217"}, token=token)).json()
            with pytest.raises(ValueError, match="rejected value"):
                await asyncio.to_thread(talk, told, baudrate=9600, parity="E", xonxoff=True)
            assert await beside(_settings, team, port) == (115200, "even", "xonxoff")

    asyncio.run(scenario())
