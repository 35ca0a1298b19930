"""What people type is kept where the team says so, and only what the device echoed."""

from __future__ import annotations

import asyncio

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from consoles.log_models import ConsoleTyped
from consoles.log_services import log_settings_get, log_settings_update
from consoles.models import ConsolePort
from consoles.typed import echoed, typed_keep
from core.scope import team_scope
from pi_agent.identity import Identity
from tenancy.models import Team, User
from tests.agents.conftest import GatewayProcess, until
from tests.consoles.conftest import Browser, Device, agent_with, browsing, held, opened
from tests.consoles.logs import port, store

__all__ = ["port", "store"]


@pytest.mark.parametrize(
    ("typed", "output", "kept"),
    [
        (b"show version", b"show version\r\nIOS", "show version"),
        (b"show version", b"show version", "show version"),
        (b"hunter2", b"\r\nLogin incorrect\r\n", ""),
        (b"hunter2", b"", ""),
        (b"hunter2", b"*******\r\n", ""),
        (b"p", b"\r\np", ""),
        (b"pass", b"password expired\r\n", ""),
        (b"shwo\x7f\x7fow", b"shwo\b \b\b \bow\r\n", "show"),
        (b"sh ver\tx", b"sh version x\r\n", "sh ver…"),
        (b"\x1b[A", b"show clock\r\n", ""),
        (b"reload", b"%LINK down\r\nreload\r\n", ""),
        (b"", b"\r\n", ""),
        (b"   ", b"   \r\n", ""),
    ],
)
def test_only_what_was_echoed(typed: bytes, output: bytes, kept: str) -> None:
    assert echoed(typed, output) == kept


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(str.encode), st.binary())
def test_with_echo_off_nothing_is_kept(secret: bytes, after: bytes) -> None:
    """Whatever the device says after the Enter, which begins a new line."""
    assert echoed(secret, b"\r\n" + after) == ""


async def _type(alice: Browser, device: Device, keys: bytes, answer: bytes) -> None:
    await alice.socket.send(keys)
    await held(lambda: device.listen().endswith(keys))
    await device.say(answer)
    await held(lambda: alice.shown.endswith(answer))


@pytest.mark.django_db(transaction=True)
def test_from_the_keyboard_to_the_replay(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    alice_client: Client, charlie_client: Client,
) -> None:  # fmt: skip
    with team_scope(team.pk):
        log_settings_update(settings=log_settings_get(), record_typed=True)

    def kept(port: ConsolePort) -> list[str]:
        with team_scope(team.pk):
            return list(
                ConsoleTyped.objects.filter(port=port, user=alice).order_by("offset").values_list("text", flat=True)
            )

    async def scenario() -> ConsolePort:
        async with agent_with(identity, device):
            port = await opened(team, device)
            async with browsing(alice_client, port) as alice:
                await held(lambda: alice.last("hello"))
                await _type(alice, device, b"hunter2\r", b"\r\nfw-1# ")
                await _type(alice, device, b"show version\r", b"show version\r\nIOS\r\nfw-1# ")
                await _type(alice, device, b"exit\r", b"exit\r\nbye\r\n")
                await until(lambda: kept(port)[-1:] == ["exit"])
            return port

    port = asyncio.run(scenario())
    assert kept(port) == ["show version", "exit"]
    url = reverse("console-log", args=["red", port.pk])
    assert "exit" in alice_client.get(url).content.decode()
    assert charlie_client.get(url).status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("wanted", [None, False, True])
def test_nothing_is_kept_unless_the_team_says_so(
    wanted: bool | None, port: ConsolePort, team: Team, alice: User
) -> None:
    with team_scope(team.pk):
        if wanted is not None:
            log_settings_update(settings=log_settings_get(), record_typed=wanted)
        typed_keep(port_id=port.pk, offset=7, text="show version", user_id=alice.pk, at=timezone.now())
        assert ConsoleTyped.objects.count() == int(wanted is True)
