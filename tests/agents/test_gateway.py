"""The gateway as a process, over its Unix socket, against real PostgreSQL and Valkey."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agents import tls
from agents.enrolment import agent_revoke
from agents.models import Agent, AgentStream
from agents.services import StaleLink, agent_create, link_open, links_beat, stream_receive
from core.live import send_to
from core.scope import team_scope
from netops import home
from pi_agent.frames import PROBING, Challenge, Error, Frame, Hello, Type, Welcome, ack, signed_message
from pi_agent.identity import Identity
from pi_agent.link import Link, boot_id
from pi_agent.outbox import Outbox
from pi_agent.pinning import PinError, check_pin, pinned_context
from pi_agent.registration import Interface, Registration
from probing.models import AgentPlan, ReportBatch
from tenancy.models import Team
from tests.agents.conftest import BACKOFF, GATEWAY, HANG, GatewayProcess, answer, linked, raw, until, wait_for, welcomed
from ticketing.models import Incident


def stored(team: Team) -> list[bytes]:
    with team_scope(team.pk):
        return [bytes(row.payload) for row in ReportBatch.objects.order_by("offset")]


def state(team: Team) -> Agent:
    with team_scope(team.pk):
        agent: Agent = Agent.objects.get()
    return agent


def test_an_agent_links_and_its_reports_are_stored_in_order(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    reports = [number.to_bytes(4) for number in range(200)]

    async def scenario() -> None:
        async with linked(identity) as link:
            for report in reports:
                link.deliver(report)
            await until(lambda: len(stored(team)) == len(reports))
            await until(lambda: link.outbox.first == len(reports))

    asyncio.run(scenario())
    assert stored(team) == reports
    row = state(team)
    assert (row.epoch, row.boot, row.online) == (1, str(boot_id()), True)
    assert "127.0.0.1" in row.addresses["lo"]
    assert row.first_seen
    assert row.last_seen


def test_over_tcp_it_is_tls_with_the_pinned_key_and_nothing_else_is_served(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    port = home.port("gateway")
    secure = pinned_context()

    async def scenario() -> None:
        async with connect(f"wss://127.0.0.1:{port}/link", ssl=secure) as socket:
            seen = socket.transport.get_extra_info("ssl_object")
            assert seen.version() == "TLSv1.3"
            check_pin(seen, tls.pin())
            with pytest.raises(PinError, match="another key"):
                check_pin(seen, bytes(32))
            assert (await welcomed(socket, identity)).agent == "probe1"
        with pytest.raises(InvalidStatus, match="403"):
            await connect(f"wss://127.0.0.1:{port}/other", ssl=secure)
        for path, status in (("/link", b"404"), ("/", b"404"), ("/api/agents/agents/", b"404")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=secure)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert status in await reader.readline()
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /link HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not (await reader.read()).startswith(b"HTTP")
        writer.close()

    asyncio.run(scenario())


def test_an_agent_says_nothing_to_a_server_with_another_key(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(pin: bytes, done: Callable[[], bool]) -> None:
        link = Link(f"wss://127.0.0.1:{home.port('gateway')}/link", identity, print, Outbox(1024), BACKOFF, pin)
        task = asyncio.create_task(link.run())
        await until(done)
        task.cancel()

    asyncio.run(scenario(bytes(32), lambda: "another key" in caplog.text))
    assert state(team).epoch == 0
    asyncio.run(scenario(tls.pin(), lambda: state(team).online))
    assert state(team).epoch == 1


def test_what_the_machine_is_comes_over_the_link_and_changes(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    def told(hostname: str) -> Registration:
        eth0 = Interface("eth0", True, "", ("192.0.2.9",))
        return Registration(hostname, "", "", "", "0.1.0", boot_id(), 1, (eth0,), ())

    async def scenario() -> None:
        async with linked(identity) as link:
            for hostname in ("before", "after"):
                link.register(told(hostname))
                await until(lambda hostname=hostname: state(team).hostname == hostname)  # type: ignore[misc]

    asyncio.run(scenario())
    assert state(team).addresses == {"eth0": ["192.0.2.9"]}


def test_a_server_and_an_agent_of_the_version_before_are_served(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        async with raw() as socket:
            challenge = Challenge.parse(Frame.decode(await socket.recv()))
            assert challenge.versions == (1, 5)
            signature = identity.sign(signed_message(challenge.nonce, identity.public))
            hello = Hello(identity.public, signature, boot_id(), "pi", "0.0.9", {}, {}, version=1)
            await socket.send(hello.frame().encode())
            assert Welcome.parse(Frame.decode(await socket.recv())).version == 1

    asyncio.run(scenario())


async def _as(socket: ClientConnection, identity: Identity, boot: uuid.UUID) -> Frame:
    """HELLO as a machine of that boot; the answer."""
    challenge = Challenge.parse(Frame.decode(await socket.recv()))
    signature = identity.sign(signed_message(challenge.nonce, identity.public))
    await socket.send(Hello(identity.public, signature, boot, "twin", "1", {}, {}).frame().encode())
    while True:
        frame = Frame.decode(await socket.recv())
        if frame.type is not Type.PING:
            return frame


def test_a_second_machine_with_the_key_is_refused_while_the_first_one_answers(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        told: list[object] = []
        async with linked(identity, on_tunnel=told.append) as link:
            link.register(Registration("first", "", "", "", "0.1.0", boot_id(), 1, (), ()))
            await until(lambda: told)
            async with raw() as twin:
                assert Error.parse(await _as(twin, identity, uuid.uuid4())).code == "clone"
            async with raw() as back:
                assert (await _as(back, identity, boot_id())).type is Type.WELCOME

    asyncio.run(scenario())
    with team_scope(team.pk):
        incident = Incident.objects.get()
    assert incident.title == "Two machines use the key of agent probe1"
    assert incident.element == f"agent:{agent.pk}:key"


def test_a_machine_that_started_again_takes_the_place_of_a_link_that_is_dead(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        async with raw() as silent, raw() as fresh:
            assert (await _as(silent, identity, uuid.uuid4())).type is Type.WELCOME
            assert (await _as(fresh, identity, uuid.uuid4())).type is Type.WELCOME
            while (frame := Frame.decode(await silent.recv())).type is Type.PING:
                pass
            assert Error.parse(frame).code == "replaced"

    asyncio.run(scenario())
    assert state(team).epoch == 2
    with team_scope(team.pk):
        assert not Incident.objects.exists()


@pytest.mark.parametrize("case", ["unknown key", "bad signature", "foreign version"])
def test_who_is_not_enrolled_is_refused_without_a_reason(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity, case: str
) -> None:
    stranger = Identity(Ed25519PrivateKey.generate())

    async def scenario() -> Error:
        async with raw() as socket:
            if case == "foreign version":
                hello = Hello(identity.public, bytes(64), boot_id(), "pi", "9", {}, {}, version=9)
                await socket.recv()
                await socket.send(hello.frame().encode())
            elif case == "unknown key":
                await answer(socket, stranger)
            else:
                await answer(socket, identity, signer=stranger)
            error = Error.parse(Frame.decode(await socket.recv()))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            return error

    error = asyncio.run(scenario())
    expected = (
        ("version", "speaks versions 1 to 5") if case == "foreign version" else ("auth", "This key is not enrolled.")
    )
    assert error.code == expected[0]
    assert expected[1] in error.message
    assert state(team).epoch == 0


def test_killed_in_mid_stream_every_report_is_stored_exactly_once(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    reports = [number.to_bytes(4) * 50 for number in range(600)]

    async def scenario() -> None:
        async with linked(identity) as link:
            for count, report in enumerate(reports):
                link.deliver(report)
                if count in (200, 400):
                    await until(lambda seen=count - 150: len(stored(team)) > seen)  # type: ignore[misc]
                    await asyncio.to_thread(gateway.kill)
                    await asyncio.to_thread(gateway.start)
                await asyncio.sleep(0.001)
            await until(lambda: link.outbox.first == len(reports))

    asyncio.run(scenario())
    assert stored(team) == reports
    assert state(team).epoch == 3


def test_a_second_link_with_the_same_key_replaces_the_first(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        async with raw() as first, raw() as second:
            await welcomed(first, identity)
            await first.send(Frame(Type.DATA, PROBING, 0, b"one").encode())
            assert Frame.decode(await first.recv()) == ack(PROBING, 1)
            assert (await welcomed(second, identity)).streams == {PROBING: 1}
            assert Error.parse(Frame.decode(await first.recv())).code == "replaced"
            with pytest.raises(ConnectionClosed):
                await first.recv()
            await second.send(Frame(Type.DATA, PROBING, 1, b"two").encode())
            assert Frame.decode(await second.recv()) == ack(PROBING, 2)

    asyncio.run(scenario())
    assert stored(team) == [b"one", b"two"]


def test_duplicates_are_acknowledged_again_and_gaps_accepted(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        async with raw() as socket:
            await welcomed(socket, identity)
            for offset, payload, expected in ((0, b"a", 1), (0, b"again", 1), (5, b"b", 6), (3, b"late", 6)):
                await socket.send(Frame(Type.DATA, PROBING, offset, payload).encode())
                assert Frame.decode(await socket.recv()) == ack(PROBING, expected)

    asyncio.run(scenario())
    assert stored(team) == [b"a", b"b"]


def test_another_gateways_newer_link_ends_this_one(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    """The other gateway is played by its service call; this one finds out by its next write."""
    hello = Hello(identity.public, bytes(64), boot_id(), "pi", "0.1.0", {}, {})

    async def scenario() -> None:
        async with raw() as socket:
            await welcomed(socket, identity)

            def elsewhere() -> None:
                with team_scope(team.pk):
                    link_open(agent_id=agent.pk, hello=hello)

            await asyncio.to_thread(elsewhere)
            with suppress(ConnectionClosed):  # it may have found out by itself
                await socket.send(Frame(Type.DATA, PROBING, 0, b"stale").encode())
            assert Error.parse(Frame.decode(await socket.recv())).code == "replaced"

    asyncio.run(scenario())
    assert stored(team) == []


def test_revoking_ends_the_link_and_lets_the_key_in_no_more(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    def put_out() -> None:
        with team_scope(team.pk):
            agent_revoke(agent=Agent.objects.get())

    async def scenario() -> None:
        async with raw() as link, asyncio.timeout(HANG):
            await welcomed(link, identity)
            await asyncio.to_thread(put_out)
            assert Error.parse(Frame.decode(await link.recv())).code == "replaced"
            with pytest.raises(ConnectionClosed):
                await link.recv()
        async with raw() as again, asyncio.timeout(HANG):
            await answer(again, identity)
            assert Error.parse(Frame.decode(await again.recv())).code == "auth"

    asyncio.run(scenario())


def test_a_stale_epoch_writes_nothing(scope: Team, agent: Agent, identity: Identity) -> None:
    hello = Hello(identity.public, bytes(64), boot_id(), "pi", "0.1.0", {}, {})
    first = link_open(agent_id=agent.pk, hello=hello)
    second = link_open(agent_id=agent.pk, hello=hello)
    with pytest.raises(StaleLink):
        stream_receive(agent_id=agent.pk, epoch=first.epoch, stream=PROBING, frames=[(0, b"x")])
    assert links_beat(epochs={agent.pk: first.epoch}) == {agent.pk}
    assert links_beat(epochs={agent.pk: second.epoch, agent.pk + 1: 1}) == {agent.pk + 1}
    assert AgentStream.objects.get().offset == 0
    assert stream_receive(agent_id=agent.pk, epoch=second.epoch, stream=PROBING, frames=[(0, b"x")]) == 1


def test_plans_are_pushed_on_connect_and_on_a_nudge(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    plans: list[bytes] = []

    def set_plan(version: int) -> None:
        with team_scope(team.pk):
            AgentPlan.objects.update_or_create(agent=agent, defaults={"version": version, "plan": {"version": version}})
            send_to(f"agent.{agent.pk}", {"type": "plan"})

    async def scenario() -> None:
        await asyncio.to_thread(set_plan, 1)
        async with linked(identity, plans.append):
            await until(lambda: len(plans) == 1)
            await asyncio.to_thread(set_plan, 2)
            await until(lambda: len(plans) == 2)

    asyncio.run(scenario())
    assert [b'"version":1' in plans[0].replace(b" ", b""), b'"version":2' in plans[1].replace(b" ", b"")] == [True] * 2


def test_an_agent_that_leaves_goes_offline(
    gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity
) -> None:
    async def scenario() -> None:
        async with raw() as socket:
            await welcomed(socket, identity)

    asyncio.run(scenario())
    assert state(team).online, "there is a grace"
    wait_for(lambda: not state(team).online)


frames = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=20),
    st.builds(
        lambda kind, stream, offset, payload: bytes([kind]) + stream.to_bytes(4) + offset.to_bytes(8) + payload,
        st.integers(0, 8),
        st.sampled_from([0, 1, 2, 16, 2**32 - 1]),
        st.sampled_from([0, 1, 2**62 + 1, 2**63, 2**64 - 1]),
        st.one_of(st.binary(max_size=40), st.just(b"{}"), st.just(b'{"code":"x","message":"y"}')),
    ),
)


def test_no_bytes_of_a_peer_crash_it(gateway: GatewayProcess, agent: Agent, team: Team, identity: Identity) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(messages=st.lists(frames, min_size=1, max_size=4), known=st.booleans())
    def attack(messages: list[bytes | str], known: bool) -> None:
        async def scenario() -> None:
            async with raw() as socket:
                if known:
                    await welcomed(socket, identity)
                try:
                    for message in messages:
                        await socket.send(message)
                except ConnectionClosed:
                    pass

        asyncio.run(scenario())

    attack()

    async def afterwards() -> None:
        async with raw() as socket:
            expected = (await welcomed(socket, identity)).streams[PROBING]
            await socket.send(Frame(Type.DATA, PROBING, expected, b"alive").encode())
            assert Frame.decode(await socket.recv()) == ack(PROBING, expected + 1)

    asyncio.run(afterwards())
    assert stored(team)[-1] == b"alive"


def test_sigterm_ends_it_cleanly_and_a_port_in_use_is_one_line(
    gateway: GatewayProcess, agent: Agent, identity: Identity
) -> None:
    command = [sys.executable, "-c", GATEWAY]
    second = subprocess.run(
        command,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings"},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"port {home.port('gateway')}" in second.stderr

    async def scenario() -> None:
        async with raw() as socket:
            await welcomed(socket, identity)
            assert await asyncio.to_thread(gateway.stop) == 0
            with pytest.raises(ConnectionClosed):
                await socket.recv()

    asyncio.run(scenario())
    with sockets.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", home.port("gateway"))) != 0


def test_an_ssh_port_in_use_is_one_line(gateway: GatewayProcess) -> None:
    gateway.stop()
    with sockets.create_server(("127.0.0.1", home.port("ssh"))):
        done = subprocess.run(
            [sys.executable, "-c", GATEWAY],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings"},
            capture_output=True,
            text=True,
            timeout=HANG,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"port {home.port('ssh')}" in done.stderr


def test_an_agent_needs_a_key_and_a_name_of_its_own(scope: Team, agent: Agent) -> None:
    from django.core.exceptions import ValidationError

    for key, match in (("zz", "64 hexadecimal digits"), (agent.public_key, "make a new one")):
        with pytest.raises(ValidationError, match=match):
            agent_create(name="other", public_key=key)


def test_gateway_and_pages_do_without_what_only_workers_need() -> None:
    """A process with Scapy or NetworkX is 30 to 80 MB larger."""
    code = (
        "import sys, django; django.setup(); import agents.gateway, probing.api, probing.services, probing.tasks\n"
        "print(*({'scapy', 'networkx', 'numpy'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "netops.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=HANG)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
