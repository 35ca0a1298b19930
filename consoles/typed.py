"""What people type, where the team wants it kept: a line of it once the device has echoed it, and never else.

Where echo is off (a password) what follows in the log is not what was typed, so nothing is kept. The same where
somebody else typed meanwhile, the device spoke, or a line was pasted behind another: what is not sure is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from consoles.log_models import ConsoleLogSettings, ConsoleTyped
from consoles.plain import rows
from tenancy.models import User

if TYPE_CHECKING:
    from consoles.hub import Port

LONGEST = 1000
JUDGE_S = 1.0
"""After Enter, for the echo to come."""


def echoed(typed: bytes, output: bytes) -> str:
    """The line that was typed, as Backspace left it, if it is the first row of `output`, which begins with its first
    key; else nothing. What was typed behind a Tab or another key of a line's editor is left out."""
    line = bytearray()
    whole = True
    for key in typed:
        if key in b"\b\x7f":
            del line[-1:]
        elif key < 0x20:
            whole = False
            break
        else:
            line.append(key)
    text = line.decode(errors="replace").rstrip()
    row = rows(output.partition(b"\n")[0].rstrip(b"\r"))[0]
    if not text or not (row == text if whole else row.startswith(text)):
        return ""
    return text if whole else f"{text}…"


class Typist:
    """Listens to the keys of one session; `keep(offset, text)` gets the lines that were echoed."""

    def __init__(self, port: Port, keep: Callable[[int, str], None]) -> None:
        self._port, self._keep = port, keep
        self._start, self._typed = 0, b""

    def keys(self, keys: bytes, end: int) -> None:
        """They went to the device when the log ended at `end`."""
        if not self._typed:
            self._start = end
        line, enter, rest = keys.replace(b"\n", b"\r").partition(b"\r")
        self._typed = (self._typed + line)[: LONGEST + 1]
        if enter:
            if not rest.strip(b"\r") and 0 < len(self._typed) <= LONGEST:
                asyncio.get_running_loop().call_later(JUDGE_S, self._judge, self._start, self._typed)
            self._typed = b""

    def _judge(self, start: int, typed: bytes) -> None:
        try:
            offset, output = self._port.read(start, 4 * LONGEST) or self._port.log.read(start, 4 * LONGEST)
        except OSError:
            return
        if offset == start and (text := echoed(typed, output)):
            self._keep(start, text)


def typed_keep(*, port_id: int, offset: int, text: str, user_id: int | None, at: datetime) -> None:
    """Keep a line if the team wants it."""
    if ConsoleLogSettings.objects.filter(record_typed=True).exists():
        user = User.objects.filter(pk=user_id).first() if user_id else None
        ConsoleTyped.objects.create(port_id=port_id, offset=offset, text=text[:LONGEST], user=user, at=at)
