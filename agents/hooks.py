"""What higher rooms keep an agent for; they add themselves in AppConfig.ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.models import Agent

needed_for: list[Callable[[Agent], list[str]]] = []
"""Called with the agent's team in scope; each sentence says what must go before the agent can be removed."""
