"""The access server's end of RFC 2217: speed, parity, flow control and breaks of a console port over telnet.

A console has eight data bits and one stop bit, and its modem's lines are on: each answer says what is, whatever was
asked for, as section 3 wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pi_agent.lines import BAUDS, Settings
from pi_agent.telnet import COM_PORT, Telnet

SIGNATURE, BAUD, DATA_BITS, PARITY, STOP_BITS, CONTROL = range(6)
LINE_MASK, MODEM_MASK, PURGE = 10, 11, 12
ANSWER = 100
"""Between a client's command and the server's answer to it."""
_PARITY = {1: "none", 2: "odd", 3: "even"}
_FLOW = {1: "none", 2: "xonxoff", 3: "rtscts"}
_INBOUND = 13
"""Between a flow control and the same for what comes in."""
_BREAK, _BREAK_ON, _BREAK_OFF, _DTR_ON, _RTS_ON = 4, 5, 6, 8, 11


class ComPort:
    """`may`: whether settings may be changed. `settings` are those asked for last; `on_break` is told of breaks."""

    def __init__(self, settings: Settings, *, may: bool, on_break: Callable[[], None]) -> None:
        self.settings = settings
        self._may = may
        self._on_break = on_break

    def take(self, telnet: Telnet, option: int, part: bytes) -> None:
        """A subnegotiation of COM-PORT-OPTION (a command and its value) is answered on `telnet`."""
        if option == COM_PORT and part and (answer := self._answer(part[0], part[1:])):
            telnet.send_part(COM_PORT, bytes((ANSWER + part[0],)) + answer)

    def _answer(self, command: int, value: bytes) -> bytes:
        number = int.from_bytes(value, "big")
        if command == SIGNATURE:
            return b"" if value else b"netops"
        if command == BAUD:
            if number in BAUDS:
                self._set(baud=number)
            return self.settings.baud.to_bytes(4, "big")
        if command == PARITY:
            self._set(parity=_PARITY.get(number, self.settings.parity))
            return bytes((_code(_PARITY, self.settings.parity),))
        if command == CONTROL:
            return bytes((self._control(number),))
        return {DATA_BITS: b"\x08", STOP_BITS: b"\x01", LINE_MASK: b"\0", MODEM_MASK: b"\0"}.get(
            command, value[:1] if command == PURGE else b""
        )

    def _control(self, number: int) -> int:
        if number in (_BREAK, _BREAK_ON, _BREAK_OFF):
            if number == _BREAK_ON:
                self._on_break()
            return number if number != _BREAK else _BREAK_OFF
        if number in (7, 8, 9):
            return _DTR_ON
        if number in (10, 11, 12):
            return _RTS_ON
        inbound = _INBOUND if number >= _INBOUND else 0
        self._set(flow=_FLOW.get(number - inbound, self.settings.flow))
        return _code(_FLOW, self.settings.flow) + inbound

    def _set(self, **values: Any) -> None:
        if self._may:
            self.settings = replace(self.settings, **values)


def _code(codes: dict[int, str], name: str) -> int:
    return next(code for code, each in codes.items() if each == name)
