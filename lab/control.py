"""The lab's control socket: one JSON object a line, one answer a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from lab.agent import Agent
from lab.network import Network, UnknownName, Wire
from lab.speaker import Speaker
from lab.wire import Direction, Standstills

MAX_DELAY_MS = 10_000


class CommandError(ValueError):
    """A command that cannot be carried out; one sentence."""


class Control:
    """Faults on wires, and what routing makes of them."""

    def __init__(
        self, network: Network, speaker: Speaker, listening: str, agent: Agent | None, standstills: Standstills
    ) -> None:
        self._network, self._speaker, self._listening, self._agent = network, speaker, listening, agent
        self._standstills = standstills
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "cut": self._cut,
            "heal": self._heal,
            "loss": self._loss,
            "delay": self._delay,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # gone, or a line longer than the reader's limit
            pass
        finally:
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Carry out one command line; never raises on bad input."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise CommandError("a command is a JSON object")
            command = self._commands.get(str(request.get("cmd")))
            if command is None:
                raise CommandError(f"cmd must be one of {', '.join(self._commands)}, not {request.get('cmd')!r}")
            return {"ok": True, **command(request)}
        except (CommandError, UnknownName) as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, RecursionError):
            return {"ok": False, "error": "a command is one JSON object on one line"}

    def _cut(self, request: dict[str, Any]) -> dict[str, Any]:
        announced = not _flag(request, "silent")
        directions = list(self._directions(request, everywhere=False))
        for direction in directions:
            direction.cut = True
            direction.announced |= announced
        return self._converge(directions)

    def _heal(self, request: dict[str, Any]) -> dict[str, Any]:
        directions = list(self._directions(request))
        for direction in directions:
            direction.cut = direction.announced = False
            direction.loss = direction.delay = 0.0
        return self._converge(directions)

    def _loss(self, request: dict[str, Any]) -> dict[str, Any]:
        percent = _number(request, "percent", 100)
        directions = list(self._directions(request))
        for direction in directions:
            direction.loss = percent / 100
        return {"directions": len(directions)}

    def _delay(self, request: dict[str, Any]) -> dict[str, Any]:
        milliseconds = _number(request, "ms", MAX_DELAY_MS)
        directions = list(self._directions(request))
        for direction in directions:
            direction.delay = milliseconds / 1000
        return {"directions": len(directions)}

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {
            "routers": [router.name for router in self._network.topology.routers],
            "endpoints": [endpoint.name for endpoint in self._network.topology.endpoints],
            "wires": [_wire_status(wire) for wire in self._network.wires],
            "decapsulated": {
                name: {"packets": node.decapsulator.packets, "dropped": node.decapsulator.dropped}
                for name, node in self._network.nodes.items()
            },
            "bgp": {"listening": self._listening, "peers": self._speaker.status()},
            "agent": self._agent.status() if self._agent else None,
            "standstills": self._standstills.count,
        }

    def _converge(self, directions: list[Direction]) -> dict[str, Any]:
        self._network.converge()
        self._speaker.announce(self._network.link_state())
        return {"directions": len(directions)}

    def _directions(self, request: dict[str, Any], *, everywhere: bool = True) -> Iterator[Direction]:
        """The directions a command means: a -> b only if one_way, every wire without a and b."""
        one_way = _flag(request, "one_way")
        if request.get("a") is None and request.get("b") is None:
            if not everywhere:
                raise CommandError("a and b must name the two ends of a link")
            if one_way:
                raise CommandError("one_way needs a and b, the two ends of a link")
            for wire in self._network.wires:
                yield from (wire.forward, wire.back)
            return
        for wire, reverse in self._network.find(_text(request, "a"), _text(request, "b")):
            yield wire.direction(reverse)
            if not one_way:
                yield wire.direction(not reverse)


def _wire_status(wire: Wire) -> dict[str, Any]:
    return {
        "a": wire.a,
        "b": wire.b,
        "a_address": str(wire.a_address),
        "b_address": str(wire.b_address),
        "a_to_b": _direction_status(wire.forward),
        "b_to_a": _direction_status(wire.back),
    }


def _direction_status(direction: Direction) -> dict[str, Any]:
    return {
        "cut": direction.cut,
        "announced": direction.announced,
        "loss_percent": direction.loss * 100,
        "delay_ms": direction.delay * 1000,
        "packets": direction.packets,
        "dropped": direction.dropped,
    }


def _flag(request: dict[str, Any], field: str) -> bool:
    value = request.get(field, False)
    if not isinstance(value, bool):
        raise CommandError(f"{field} must be true or false, not {value!r}")
    return value


def _text(request: dict[str, Any], field: str) -> str:
    value = request.get(field)
    if not isinstance(value, str):
        raise CommandError(f"{field} must name one end of a link, not {value!r}")
    return value


def _number(request: dict[str, Any], field: str, high: int) -> float:
    value = request.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise CommandError(f"{field} must be a number from 0 to {high}, not {value!r}")
    return float(value)
