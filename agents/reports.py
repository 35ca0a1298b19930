"""The signed reports of agents that have no link: who sent one, and that it is new."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.utils import timezone

from agents.clones import clash_report
from agents.models import Agent, AgentBoot, agent_of_key
from agents.services import heard
from core.live import publish
from core.scope import acting, team_scope
from pi_agent.enrolment import BOOT_HEADER, COUNTER_HEADER, KEY_HEADER, SIGNATURE_HEADER, report_message
from pi_agent.identity import verify

MAX_COUNTER = 2**63 - 1
MARGIN = timedelta(seconds=30)
"""Times are those of arrival: each report of a boot may have come so much later than it was signed."""


class UnknownAgent(Exception):
    """The report is of nobody who is enrolled, or not signed by them: nothing says which."""


class Replayed(Exception):
    """The report came before, or an older one after a newer."""


@dataclass(frozen=True, slots=True)
class Report:
    """The head of a signed report (pi_agent.enrolment.report_message)."""

    path: str
    key: bytes
    boot: uuid.UUID
    counter: int
    signature: bytes

    @classmethod
    def parse(cls, path: str, headers: Mapping[str, str]) -> Self:
        """Raises UnknownAgent."""
        try:
            key, signature = bytes.fromhex(headers[KEY_HEADER]), bytes.fromhex(headers[SIGNATURE_HEADER])
            boot, digits = uuid.UUID(headers[BOOT_HEADER]), headers[COUNTER_HEADER]
            if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) <= MAX_COUNTER):
                raise ValueError
        except (KeyError, ValueError):
            raise UnknownAgent from None
        return cls(path, key, boot, int(digits), signature)


@contextmanager
def report_accept(report: Report, body: bytes) -> Iterator[Agent]:
    """The enrolled agent that signed this, in the scope of its team; an error inside leaves the report unspent.

    Raises UnknownAgent or Replayed.
    """
    message = report_message(report.path, report.boot, report.counter, body)
    found = agent_of_key(report.key.hex()) if verify(report.key, report.signature, message) else None
    if found is None:
        raise UnknownAgent
    team_id, agent_id = found
    with acting(door="agent", name=f"agent {agent_id}"), team_scope(team_id):
        rows = Agent.objects.filter(pk=agent_id, state=Agent.State.ENROLLED)
        agent = rows.select_for_update(no_key=True).first()
        if agent is None or (agent.rekey and agent.boot != str(report.boot)):
            raise UnknownAgent
        _spend(agent, report)
        heard(rows, reported=timezone.now())
        if agent.status_now != "online":
            publish(team_id, "agents")
        yield agent


def _spend(agent: Agent, report: Report) -> None:
    """A boot that was followed by another one is over, whatever its counter, unless both are alive: two machines."""
    life = timedelta(microseconds=report.counter // 1000)
    boots = AgentBoot.objects.filter(agent=agent)
    own, last = boots.filter(boot=report.boot).first(), boots.order_by("-pk").first()
    if own and report.counter <= own.counter:
        raise Replayed
    born = timezone.now() - life
    if own and own.born:
        born = min(own.born, born)
    others = boots.exclude(boot=report.boot)
    twin = others.filter(alive__gt=born + MARGIN, born__lt=born + life - MARGIN).exists()
    if own and own != last and not twin:
        raise Replayed
    values = {"counter": report.counter, "born": born, "alive": born + life}
    AgentBoot.objects.update_or_create(agent=agent, boot=report.boot, defaults=values)
    if twin:
        found = "Its reports come from two machines at once"
        clash_report(agent_id=agent.pk, evidence={"hostname": agent.hostname}, found=found)
