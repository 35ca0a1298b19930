"""Every write about tests of console ports, and the incidents that they open."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from agents.models import Agent
from agents.nudges import group
from consoles.models import ConsolePort
from consoles.prompts import Verdict
from core.live import publish, send_to
from core.scope import current_team_id
from ticketing.services import incident_clear, incident_report

DRY = 2
"""Tests of a port, under its settings, that open no incident: what is usual there is being learnt."""
AGAIN = timedelta(minutes=5)
"""After which a test that was put off is tried again."""
SOURCE = "consoles"
TROUBLE = {
    "silent": "does not answer",
    "echo": "does not answer",
    "garbled": "answers in no text",
    "mismatch": "is another device's",
    "loader": "is in a boot loader",
    "closed": "is not open",
}


def check_ask(*, port: ConsolePort, what: str) -> None:
    """Have the gateway `test` the port, or `detect` its speed, now."""
    port.asked = what
    port.save(update_fields=["asked"])
    send_to(group(port.agent_id), {"type": "consoles"})
    publish(current_team_id(), "consoles")


def check_note(*, port_id: int, verdict: Verdict, modem: dict[str, bool]) -> None:
    """How a test ended. One incident while the port is in trouble; it resolves by itself."""
    rows = ConsolePort.objects.select_for_update(no_key=True, of=("self",)).select_related("device", "agent")
    port = rows.filter(pk=port_id).first()
    if port is None:
        return
    now, sentence = timezone.now(), verdict.sentence
    if verdict.result == "silent" and not modem.get("dsr", True):
        sentence += " DSR is off: the device may have no power, or the cable is out."
    port.tests += 1
    port.asked, port.test_at, port.test_due = "", now, now + interval()
    port.test_result, port.test_sentence = verdict.result, sentence[:255]
    port.test_modem = ", ".join(f"{name.upper()} {'on' if on else 'off'}" for name, on in modem.items())
    if verdict.result == "ok":
        port.test_good = now
    port.save(
        update_fields=[
            "tests", "asked", "test_at", "test_due", "test_result", "test_sentence", "test_modem", "test_good",
        ]
    )  # fmt: skip
    if verdict.result not in TROUBLE:
        _clear(port, sentence)
    elif port.testing and port.tests > DRY and (port.device_id or port.test_good):
        _report(port, verdict)
    publish(current_team_id(), "consoles")


def check_put_off(*, port_id: int, asked: str, sentence: str) -> None:
    """Nothing was sent; whoever asked is told why."""
    values = {"test_due": timezone.now() + AGAIN, "asked": ""}
    if asked == "detect":
        values["detection"] = {"sentence": sentence}
    elif asked:
        values |= {"test_result": "waits", "test_sentence": sentence[:255], "test_at": timezone.now()}
    ConsolePort.objects.filter(pk=port_id).update(**values)
    if asked:
        publish(current_team_id(), "consoles")


def detection_note(*, port_id: int, baud: int | None, sentence: str) -> None:
    """The speed that was found, to be offered; None where none was."""
    ConsolePort.objects.filter(pk=port_id).update(asked="", detection={"baud": baud, "sentence": sentence[:255]})
    publish(current_team_id(), "consoles")


def checks_begin_again(*, port: ConsolePort) -> None:
    """It was set up in another way: what is usual there is learnt anew."""
    port.tests, port.test_due, port.test_good, port.detection = 0, first_check(), None, None
    port.save(update_fields=["tests", "test_due", "test_good", "detection"])
    _clear(port, "It was set up in another way" if port.testing else "It is not tested any more")


def checks_end(agent: Agent) -> None:
    """The agent is put out: nobody can say any more how its ports are."""
    for port in ConsolePort.objects.filter(agent=agent).order_by("pk"):
        _clear(port, "Its agent was put out")


def first_check() -> datetime:
    """Not at once, and not all at one time."""
    return timezone.now() + interval()


def interval() -> timedelta:
    """Until the next test; no two ports keep step."""
    return timedelta(minutes=settings.CONSOLE_TEST_MINUTES * random.uniform(0.75, 1.25))  # noqa: S311


def _report(port: ConsolePort, verdict: Verdict) -> None:
    evidence = {"console": str(port), "agent": port.agent.name, "result": port.test_sentence}
    if port.device:
        evidence["device"] = port.device.name
    if verdict.host:
        evidence["prompt"] = verdict.host
    if port.test_modem:
        evidence["modem lines"] = port.test_modem
    incident_report(
        kind="console",
        element=_element(port),
        source=SOURCE,
        title=f"Console {port} {TROUBLE[verdict.result]}",
        evidence=evidence,
        severity="warning",
        reason=port.test_sentence,
    )


def _clear(port: ConsolePort, reason: str) -> None:
    incident_clear(kind="console", element=_element(port), source=SOURCE, reason=reason)


def _element(port: ConsolePort) -> str:
    return f"console:{port.pk}:test"
