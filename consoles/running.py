"""What `web` does at a console for somebody who asked by REST: as a program of theirs, at the gateway's socket."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import re2
from django.conf import settings
from django.core.exceptions import ValidationError
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

AT_ONCE = 4
"""Of the threads of a `web` process (netops/asgi.py)."""
OUTPUT = 256 << 10
"""Bytes of output after which a run ends."""
LOOK_BACK = 16 << 10
"""Bytes before the news in which a match may begin."""
OPEN_S = 5.0
END = 2**62
"""As the offset to begin at: whatever comes from now on."""
_HEAD = 8
_turns = BoundedSemaphore(AT_ONCE)


class NotDone(Exception):
    """The port refuses; the text is a sentence."""


class Away(Exception):
    """There is no way to the port now, or no turn; the text is a sentence."""


@dataclass(frozen=True)
class Outcome:
    """`matched`: None where the pattern did not come in time. `cut`: there was more than OUTPUT."""

    output: bytes
    matched: bytes | None
    cut: bool


def pattern(text: str) -> Any:
    """Raises ValidationError. RE2 takes time linear in the output, whatever the pattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValidationError({"expect": f"This is no pattern of RE2: {said}."}) from None


def run(path: str, ticket: str, *, send: bytes, expect: Any, timeout: float) -> Outcome:
    """Send, and collect what the port says until `expect` (a `pattern`, or None) matches or `timeout` seconds passed.
    Raises NotDone, Away."""
    if not _turns.acquire(blocking=False):
        raise Away(f"{AT_ONCE} runs are under way already: try again in a moment.")
    try:
        with _gateway(path) as socket:
            socket.send(json.dumps({"ticket": ticket, "from": END}))
            hello = _told(socket.recv(OPEN_S))
            if send and (trouble := hello.get("trouble")):
                raise NotDone(f"This port {trouble}." if not trouble.startswith("its ") else f"I{trouble[1:]}.")
            if send:
                socket.send(send)
            return _collect(socket, expect, time.monotonic() + timeout)
    except TimeoutError:
        raise Away("The gateway did not answer in time: try again.") from None
    except ConnectionClosed:
        raise Away("The gateway closed the console: try again.") from None
    except (OSError, WebSocketException):
        raise Away("The gateway cannot be reached: see that it runs.") from None
    finally:
        _turns.release()


def listener(path: str, ticket: str, mode: str) -> dict[str, Any]:
    """{host, port, token} of a listener at the gateway. Raises NotDone, Away."""
    try:
        with _gateway(path) as socket:
            socket.send(json.dumps({"ticket": ticket, "listen": mode}))
            told = _told(socket.recv(OPEN_S))
            return {name: told[name] for name in ("host", "port", "token")}
    except (OSError, WebSocketException):
        raise Away("The gateway cannot be reached: see that it runs.") from None


def _gateway(path: str) -> AbstractContextManager[ClientConnection]:
    url = f"{settings.CONSOLE_INNER_URL}{path}"
    return connect(url, compression=None, open_timeout=OPEN_S, close_timeout=1, proxy=None)


def _collect(socket: ClientConnection, expect: Any, deadline: float) -> Outcome:
    output = bytearray()
    while len(output) < OUTPUT and (left := deadline - time.monotonic()) > 0:
        try:
            message = socket.recv(left)
        except TimeoutError:
            break
        if isinstance(message, str):
            _told(message)
            continue
        start = max(0, len(output) - LOOK_BACK)
        output += message[_HEAD:]
        if expect and (match := expect.search(bytes(output[start:OUTPUT]))):
            return Outcome(bytes(output[:OUTPUT]), match[0], cut=False)
    return Outcome(bytes(output[:OUTPUT]), None, cut=len(output) >= OUTPUT)


def _told(message: str | bytes) -> dict[str, Any]:
    """A text message's object; a refusal is raised."""
    told: dict[str, Any] = json.loads(message)
    if told["type"] == "refused":
        raise NotDone(told["sentence"])
    return told
