"""Bodies by HTTP at the gateway: read to a limit and within a time of our own, for Django keeps whatever comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from agents.link import HANDSHAKE_S, Receive, Send
from pi_agent.registration import MAX_BODY

App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
TOO_LONG = f"Send at most {MAX_BODY} bytes."


class _Refused(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def capped(app: App, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Have `app` answer an HTTP request whose body is short enough; else 413, or 408 for one that comes too slowly."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            body = await _body(scope, receive)
    except TimeoutError:
        await _refuse(send, 408, "The request did not come in time.")
    except _Refused as refusal:
        await _refuse(send, refusal.status, str(refusal))
    else:
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> dict[str, Any]:
            return waiting.pop() if waiting else await receive()

        await app(scope, received, send)


async def _body(scope: dict[str, Any], receive: Receive) -> bytes:
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if not announced.isdigit() or int(announced[:20]) > MAX_BODY:
        raise _Refused(413, TOO_LONG)
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Refused(400, "The request was not whole.")
        body, more = body + event.get("body", b""), event.get("more_body", False)
        if len(body) > MAX_BODY:
            raise _Refused(413, TOO_LONG)
    return body


async def _refuse(send: Send, status: int, sentence: str) -> None:
    # What is still to come is not read: the connection ends.
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": sentence}).encode()})
