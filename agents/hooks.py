"""Where higher rooms add themselves in AppConfig.ready; each is called with the agent's team in scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.models import Agent

needed_for: list[Callable[[Agent], list[str]]] = []
"""Each sentence says what must go before the agent can be removed."""
on_ports: list[Callable[[Agent, Sequence[str]], None]] = []
"""It said over its link which ports it has (names)."""
on_gone: list[Callable[[Agent], None]] = []
"""It is put out or removed: nothing is heard of it any more."""
consoles_of: list[Callable[[Agent], dict[str, int]]] = []
"""{name of a serial port: id of its console}."""
