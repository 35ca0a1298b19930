from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.http11 import Request, Response

from pi_agent.frames import PROBING, Error, Frame, FrameError, Type, Welcome, ack
from pi_agent.identity import Identity
from pi_agent.link import Link, boot_id, check_url
from pi_agent.outbox import Outbox
from tests.links import kept_up
from tests.pi_agent.server import Fate, Server, running, until

IDENTITY = Identity(Ed25519PrivateKey.generate())
BACKOFF = (0.001, 0.005)


def no_plan(payload: bytes) -> None:
    raise AssertionError("no plan was sent")


@asynccontextmanager
async def linked(
    server: Server, on_plan: Callable[[bytes], None] = no_plan, limit: int = 1 << 20
) -> AsyncIterator[Link]:
    link = Link(f"unix:{server.path}", IDENTITY, on_plan, Outbox(limit), BACKOFF)
    async with kept_up(link):
        yield link


fates = st.builds(Fate, cut_after=st.integers(0, 20), ack_every=st.sampled_from([1, 1, 3, 1000]))


@settings(max_examples=40, deadline=None)
@given(
    fates=st.lists(fates, max_size=6),
    window=st.sampled_from([1, 60, 1 << 16]),
    reports=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=25),
)
def test_every_report_arrives_once_and_in_order_across_cuts(
    fates: list[Fate], window: int, reports: list[tuple[int, bool]]
) -> None:
    made = [number.to_bytes(4) + bytes(padding) for number, (padding, _) in enumerate(reports)]

    async def scenario() -> None:
        async with running(Server("", fates=list(fates), window=window)) as server, linked(server) as link:
            for report, (_, pause) in zip(made, reports, strict=True):
                link.deliver(report)
                if pause:
                    await asyncio.sleep(0.003)
            server.behave()
            await until(lambda: server.expected == len(made) and link.outbox.first == len(made))
            assert server.reports == made
            assert server.gaps == link.outbox.dropped == 0

    asyncio.run(scenario())


@settings(max_examples=15, deadline=None)
@given(fates=st.lists(fates, max_size=4), total=st.integers(30, 60))
def test_what_a_full_queue_drops_is_counted_and_seen_as_a_gap(fates: list[Fate], total: int) -> None:
    made = [number.to_bytes(4) for number in range(total)]

    async def scenario() -> None:
        async with running(Server("", fates=list(fates))) as server, linked(server, limit=40) as link:
            for number, report in enumerate(made):
                link.deliver(report)
                if number % 15 == 0:
                    await asyncio.sleep(0.003)
            server.behave()
            await until(lambda: link.outbox.first == link.outbox.next == server.expected)
            assert server.reports == sorted(set(server.reports))
            assert server.reports[-1] == made[-1]
            assert total - len(server.reports) == server.gaps
            assert 0 < server.gaps <= link.outbox.dropped

    asyncio.run(scenario())


def test_hello_says_who_the_agent_is() -> None:
    async def scenario() -> None:
        async with running(Server("", expected=40)) as server, linked(server) as link:
            link.deliver(b"a")
            await until(lambda: server.reports)
            await until(lambda: link.outbox.first == 41)
            server.connections[0].transport.abort()
            await until(lambda: len(server.hellos) == 2)
        first, second = server.hellos
        assert first.key == IDENTITY.public
        assert first.boot == boot_id()
        assert "127.0.0.1" in first.addresses["lo"]
        assert (first.streams, second.streams) == ({PROBING: 0}, {PROBING: 41})
        assert server.expected == 41, "a fresh agent starts at what the server expects"

    asyncio.run(scenario())


def test_plans_are_acknowledged_or_refused_in_one_sentence_and_the_link_stays() -> None:
    taken: list[bytes] = []

    def on_plan(payload: bytes) -> None:
        if payload == b"bad":
            raise FrameError("walk 1: rate must be less")
        taken.append(payload)

    async def scenario() -> None:
        async with running(Server("", plans=[b"one", b"bad", b"two"])) as server, linked(server, on_plan) as link:
            await until(lambda: len(server.answers) == 3)
            link.deliver(b"still up")
            await until(lambda: server.reports)
            assert taken == [b"one", b"two"]
            assert server.answers == [
                ack(PROBING, 1),
                Error("plan", "walk 1: rate must be less").frame(PROBING, 1),
                ack(PROBING, 3),
            ]
            assert len(server.connections) == 1

    asyncio.run(scenario())


def test_a_stream_that_is_not_there_is_refused_and_the_link_stays() -> None:
    async def scenario() -> None:
        async with running() as server, linked(server):
            await until(lambda: server.hellos)
            await server.connections[0].send(Frame(Type.DATA, 16, 5, b"x").encode())
            await until(lambda: server.answers)
            answer = server.answers[0]
            assert (answer.type, answer.stream, answer.offset) == (Type.ERROR, 16, 5)
            assert Error.parse(answer) == Error("stream", "this agent has no stream 16")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff" * 13,
        "text",
        Welcome("again", {}, 1).frame().encode(),
        ack(PROBING, 1).encode(),
        Frame(Type.ERROR, 0, 0, b"{").encode(),
        Frame(Type.DATA, PROBING, 0, bytes(1 << 20)),
    ],
)
def test_a_hostile_server_costs_only_the_connection(message: bytes | str | Frame) -> None:
    if isinstance(message, Frame):
        message = message.type.to_bytes(1) + bytes(12) + message.payload

    async def scenario() -> None:
        async with running() as server, linked(server) as link:
            await until(lambda: server.hellos)
            await server.connections[0].send(message)
            await until(lambda: len(server.hellos) > 1)
            link.deliver(b"alive")
            await until(lambda: server.reports == [b"alive"])

    asyncio.run(scenario())


def test_the_servers_refusal_and_a_foreign_version_are_logged_in_its_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(server: Server, sentence: str) -> None:
        async with running(server), linked(server):
            await until(lambda: sentence in caplog.text)
            server.refuse, server.versions = None, (1, 2)
            await until(lambda: "is up: agent pi" in caplog.text)
            caplog.clear()

    asyncio.run(
        scenario(Server("", refuse=Error("auth", "this key is not enrolled")), "this key is not enrolled (auth)")
    )
    asyncio.run(scenario(Server("", versions=(6, 7)), "the server speaks versions 6 to 7, this agent 1 to 5"))


def test_a_server_that_is_not_there_yet_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        server = Server("")
        async with serve(server.handle, "127.0.0.1", 0) as probe:
            port = next(iter(probe.sockets)).getsockname()[1]
        link = Link(f"ws://127.0.0.1:{port}/link", IDENTITY, no_plan, Outbox(1000), BACKOFF)
        task = asyncio.create_task(link.run())
        await until(lambda: "link to ws://127.0.0.1" in caplog.text)
        link.deliver(b"late")
        async with serve(server.handle, "127.0.0.1", port):
            await until(lambda: server.reports == [b"late"])
            assert server.connections[0].request is not None
            assert server.connections[0].request.path == "/link"
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url", ["", "http://x/link", "ws://", "unix:relative", "ws://x:99999/link", "ws://[/link", "ws://a..b/link"]
)
def test_a_url_that_is_no_link_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be ws://host:port/link"):
        check_url(url)
    assert check_url("unix:/run/link") == "unix:/run/link"


@pytest.mark.parametrize("location", ["ws://[", "http://127.0.0.1/", "wss://127.0.0.1:1/", ""])
def test_a_server_that_sends_elsewhere_is_left_and_tried_again(location: str) -> None:
    async def scenario() -> None:
        requests = []

        def redirect(connection: ServerConnection, request: Request) -> Response:
            requests.append(request)
            response = connection.respond(HTTPStatus.FOUND, "elsewhere")
            response.headers["Location"] = location
            return response

        server = Server("")
        with tempfile.TemporaryDirectory(prefix="no") as folder:
            server.path = f"{folder}/link"
            async with unix_serve(server.handle, server.path, process_request=redirect), linked(server):
                await until(lambda: len(requests) >= 3)

    asyncio.run(scenario())


def test_a_refusal_of_one_stream_is_logged_and_the_link_stays(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with running() as server, linked(server) as link:
            await until(lambda: server.hellos)
            await server.connections[0].send(Error("report", "too many").frame(PROBING, 3).encode())
            await until(lambda: "the server refuses on stream 1: too many (report)" in caplog.text)
            link.deliver(b"still up")
            await until(lambda: server.reports)
            assert len(server.connections) == 1

    asyncio.run(scenario())


def test_a_sender_that_dies_ends_the_link_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Outbox):
        def take(self, window: int) -> tuple[int, bytes] | None:
            if self.first < self.next and len(server.hellos) == 1:
                raise RuntimeError("out of order")
            return super().take(window)

    server = Server("")

    async def scenario() -> None:
        async with running(server):
            link = Link(f"unix:{server.path}", IDENTITY, no_plan, Broken(1 << 20), BACKOFF)
            async with kept_up(link):
                link.deliver(b"report")
                await until(lambda: server.reports == [b"report"])

    asyncio.run(scenario())
    assert len(server.hellos) == 2
    assert "RuntimeError: out of order" in caplog.text
