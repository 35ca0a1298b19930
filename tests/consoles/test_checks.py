"""Ports are tested before anybody needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from agents.enrolment import agent_delete, agent_revoke
from agents.models import Agent
from consoles import check_services
from consoles.check_services import check_note
from consoles.checks import put_off
from consoles.hub import Port
from consoles.models import ConsolePort
from consoles.prompts import Verdict
from consoles.selectors import Held, due_of
from consoles.services import port_update, ports_told
from core.scope import team_scope
from inventory.models import Device as Box
from inventory.written import device_create
from pi_agent.identity import Identity
from tenancy.models import Team
from tests.agents.conftest import GatewayProcess, until
from tests.consoles.conftest import Device, agent_with, answering, browsing, held, opened
from ticketing.models import Incident

pytestmark = pytest.mark.django_db(transaction=True)
GOOD, SILENT = Verdict("ok", "R1 answers, as it should.", "R1"), Verdict("silent", "Nothing came back.")
OTHER = Verdict("mismatch", "R7 answers where R1 should.", "R7")


@pytest.fixture
def box(team: Team) -> Box:
    with team_scope(team.pk):
        return device_create(name="R1")


@pytest.fixture
def port(team: Team, agent: Agent, box: Box) -> ConsolePort:
    with team_scope(team.pk):
        made: ConsolePort = ConsolePort.objects.create(agent=agent, name="/dev/ttyUSB0", device=box)
        return made


def note(port: ConsolePort, *verdicts: Verdict, **modem: bool) -> None:
    for verdict in verdicts:
        check_note(port_id=port.pk, verdict=verdict, modem=modem)
    port.refresh_from_db()


def incidents() -> list[tuple[str, str]]:
    return list(Incident.objects.order_by("pk").values_list("title", "state"))


def test_trouble_is_one_incident_after_the_dry_runs_and_resolves_by_itself(team: Team, port: ConsolePort) -> None:
    with team_scope(team.pk):
        note(port, SILENT, OTHER)
        assert (incidents(), port.tests, port.test_result) == ([], 2, "mismatch")
        note(port, SILENT, SILENT, SILENT, dsr=False, cts=True)
        assert incidents() == [("Console ttyUSB0 does not answer", "open")]
        assert port.test_modem == "DSR off, CTS on"
        assert port.test_sentence == (
            "Nothing came back. DSR is off: the device may have no power, or the cable is out."
        )
        note(port, OTHER)
        assert incidents() == [("Console ttyUSB0 is another device's", "open")]
        (incident,) = Incident.objects.all()
        assert incident.severity == "warning"
        assert incident.evidence["consoles"] == {
            "console": "ttyUSB0", "agent": "probe1", "device": "R1", "prompt": "R7", "result": OTHER.sentence,
        }  # fmt: skip
        note(port, GOOD)
        assert incidents() == [("Console ttyUSB0 is another device's", "resolved")]
        assert port.test_good == port.test_at


@pytest.mark.parametrize("ends", ["never tested again", "set up anew", "agent revoked", "agent removed"])
def test_an_incident_ends_with_what_it_is_about(team: Team, port: ConsolePort, agent: Agent, ends: str) -> None:
    with team_scope(team.pk):
        note(port, SILENT, SILENT, SILENT)
        assert incidents() == [("Console ttyUSB0 does not answer", "open")]
        if ends == "never tested again":
            port_update(port=port, testing=False)
            note(port, SILENT, SILENT, SILENT)
        elif ends == "set up anew":
            port_update(port=port, baud=115200)
            note(port, SILENT)
        elif ends == "agent revoked":
            agent_revoke(agent=agent)
        else:
            agent_delete(agent=agent)
        assert incidents() == [("Console ttyUSB0 does not answer", "resolved")]


def test_nobody_hears_of_a_port_at_which_there_never_was_anything(team: Team, port: ConsolePort) -> None:
    with team_scope(team.pk):
        port_update(port=port, device=None)
        note(port, *[SILENT] * 5)
        assert incidents() == []
        note(port, GOOD, SILENT)
        assert len(incidents()) == 1


def test_when_a_port_is_due(team: Team, agent: Agent, settings: Any) -> None:
    with team_scope(team.pk):
        ports_told(agent, ["/dev/ttyUSB1"])
        port = ConsolePort.objects.get()

        def due() -> list[str]:
            return [each.asked for each in due_of(ports=[port.pk])]

        assert due() == []
        check_services.check_ask(port=port, what="test")
        assert due() == ["test"]
        settings.CONSOLE_TEST_MINUTES = 0
        note(port, GOOD)
        assert due() == [""]
        check_services.check_put_off(port_id=port.pk, asked="", sentence="Somebody types.")
        assert due() == []
        port.refresh_from_db()
        assert (port.test_result, port.tests) == ("ok", 1)
        check_services.check_put_off(port_id=port.pk, asked="test", sentence="Somebody types.")
        port.refresh_from_db()
        assert (port.test_result, port.test_sentence, port.tests) == ("waits", "Somebody types.", 1)
        note(port, GOOD)
        port_update(port=port, testing=False)
        settings.CONSOLE_TEST_MINUTES = 60
        assert due() == []


def test_tests_are_switched_off_on_the_page(
    team: Team, port: ConsolePort, alice_client: Client, bob_client: Client, charlie_client: Client
) -> None:
    path = f"/t/red/consoles/{port.pk}/setup/"
    body = {"baud": "115200", "parity": "none", "flow": "none", "testing": "False"}
    assert (bob_client.post(path, body).status_code, charlie_client.post(path, body).status_code) == (403, 404)
    assert b"Select a valid choice" in alice_client.post(path, body | {"testing": "maybe"}).content
    assert alice_client.post(path, body).status_code == 302
    with team_scope(team.pk):
        port.refresh_from_db()
    assert (port.baud, port.testing, port.device_id) == (115200, False, None)


def _said(text: bytes) -> Callable[[Port], Any]:
    return lambda port: port.take(0, text)


def _typed_long_ago(keys: bytes) -> Callable[[Port], None]:
    def before(port: Port) -> None:
        port.typed(keys)
        port.typed_at = float("-inf")

    return before


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (lambda port: None, ""),
        (_said(b"\r\nR1# "), ""),
        (lambda port: port.learn(Held(1, "key", "bob", 30.0)), "bob has this console."),
        (lambda port: port.typed(b"show version\r"), "Somebody typed within the last minute."),
        (_typed_long_ago(b"reload"), "Somebody began a line"),
        (_typed_long_ago(b"reload\x03"), ""),
        (_said(b"\r\nR1# reload\r\nProceed with reload? [confirm]"), "a question, which a newline would answer"),
    ],
)  # fmt: skip
def test_a_test_is_put_off_where_it_may_do_harm(
    before: Callable[[Port], Any], reason: str, settings: Any, tmp_path: Path
) -> None:
    settings.CONSOLE_STORE = tmp_path
    port = Port(1, 1)
    port.log.own(1)
    assert port.away, "nothing is said of a port whose agent has said nothing of it"
    before(port)
    port.heard_at -= 11.0
    found = put_off(port)
    assert reason in found
    assert bool(found) is bool(reason)
    port.heard_at += 11.0
    if port.end:
        assert put_off(port) == "It was saying something just now."


def test_test_now(
    gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, box: Box,
    alice_client: Client, bob_client: Client, charlie_client: Client,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with agent_with(identity, device):
            port = await opened(team, device)
            task = asyncio.create_task(answering(device, lambda: b"\r\nR1 login: "))
            path = f"/t/red/consoles/{port.pk}/test/"

            def ask(client: Client) -> int:
                return client.post(path).status_code

            def shown() -> str:
                page = bob_client.get(path)
                assert page.status_code == 200
                return page.content.decode()

            def told(text: str) -> bool:
                """Asks again where this machine was too slow to answer."""
                page = shown()
                if "Nothing came back" in page:
                    ask(alice_client)
                return text in page

            assert await asyncio.to_thread(ask, bob_client) == 403
            assert await asyncio.to_thread(ask, charlie_client) == 404
            assert "not tested yet" in await asyncio.to_thread(shown)
            assert await asyncio.to_thread(ask, alice_client) == 200
            await until(lambda: told("R1 answers."))
            await asyncio.to_thread(_link, team, port, "R2")
            assert await asyncio.to_thread(ask, alice_client) == 200
            await until(lambda: told("Another device"))
            assert "R1 answers where R2 should" in await asyncio.to_thread(shown)
            async with browsing(alice_client, port) as alice:
                await held(lambda: alice.last("hello"))
                await alice.socket.send(b"sh")
                await held(lambda: device.listen().endswith(b"sh"))
                newlines = device.heard.count(b"\r")
                assert await asyncio.to_thread(ask, alice_client) == 200
                await until(lambda: "Somebody typed within the last minute." in shown())
            assert device.listen().count(b"\r") == newlines
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(scenario())


def _link(team: Team, port: ConsolePort, name: str) -> None:
    with team_scope(team.pk):
        port_update(port=port, device=device_create(name=name))
