"""What rides on the link: each room registers the streams it serves (pi_agent/frames.py has the numbers)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import socket

    from agents.link import Link
    from agents.models import Agent
    from pi_agent.frames import Frame


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


class Hub(Protocol):
    """What carries the serial ports' bytes, which never see the database. In the gateway's event loop."""

    async def plan(self, link: Link) -> None:
        """The agent has serial ports, or something about it may have changed; raises what is to end the link."""

    def left(self, link: Link) -> None:
        """The link has ended."""

    def receive(self, link: Link, frame: Frame) -> Frame | None:
        """A frame of CONSOLES or of a port; the answer to it. Must not wait. Raises FrameError."""

    async def browsers(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI application of the port that browsers come to."""

    async def clients(self, sock: socket.socket) -> None:
        """People come to this socket with SSH clients, from now on."""

    async def keep(self) -> None:
        """For ever, beside all links."""


streams: dict[int, Stream] = {}
hub_makers: list[Callable[[], Hub]] = []
