"""What rides on the link: each room registers the streams it serves (pi_agent/frames.py has the numbers)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agents.models import Agent


class Stream(Protocol):
    """Every method is called in a transaction with the agent's team in scope."""

    def receive(self, agent: Agent, boot: str, offset: int, payload: bytes) -> None:
        """One DATA frame. Offsets only grow; a gap is what the agent had to drop."""

    def plan(self, agent: Agent) -> tuple[int, bytes] | None:
        """What the agent is to do now, with its version; None where there never was anything to do."""

    def versions(self, agents: Collection[int]) -> dict[int, int]:
        """The version of the plan of each of these agents (by id) that has one: links look for news by it."""

    def refused(self, agent: Agent, version: int, sentence: str) -> None:
        """The agent does not do this version, and says why."""


streams: dict[int, Stream] = {}
