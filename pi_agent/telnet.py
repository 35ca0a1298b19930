"""One end of a telnet connection (RFC 854, 855) without input and output: what came goes in, what is to be sent piles
up in `out`. Options are agreed as RFC 1143 says, so that two ends cannot answer each other for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable

BINARY, ECHO, SGA, COM_PORT = 0, 1, 3, 44
"""RFC 856, 857, 858, 2217."""
SE, BREAK, SB, WILL, WONT, DO, DONT, IAC = 240, 243, 250, 251, 252, 253, 254, 255
MOST = 256
"""Bytes of a subnegotiation; what is longer is cut."""
_CR, _NUL = 13, 0
_SPECIAL = re.compile(rb"[\xff\r]")


class Telnet:
    """`ours` and `theirs`: the options that each end may have. `on_part(option, bytes)` is told each subnegotiation
    of an agreed option, `on_break` each break."""

    def __init__(
        self,
        ours: frozenset[int],
        theirs: frozenset[int],
        on_part: Callable[[int, bytes], None] = lambda *_: None,
        on_break: Callable[[], None] = lambda: None,
    ) -> None:
        self.out = bytearray()
        self.ours: set[int] = set()
        """The options that are agreed for this end."""
        self.theirs: set[int] = set()
        self._may = {WILL: theirs, DO: ours}
        self._asked: set[tuple[int, int]] = set()
        self._on_part, self._on_break = on_part, on_break
        self._state = 0  # or IAC, or the command whose option comes next, or SB
        self._part = bytearray()
        self._part_iac = False
        self._after_cr = False

    def ask(self, command: int, option: int) -> None:
        """Ask for an option: WILL for this end, DO for the other."""
        self._asked.add((command, option))
        self.out += bytes((IAC, command, option))

    def send(self, data: bytes) -> None:
        """Without BINARY a carriage return that is one is followed by NUL."""
        data = data.replace(b"\xff", b"\xff\xff")
        if BINARY not in self.ours:
            data = data.replace(b"\r", b"\r\0").replace(b"\r\0\n", b"\r\n")
        self.out += data

    def send_part(self, option: int, data: bytes) -> None:
        self.out += bytes((IAC, SB, option)) + data.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE))

    def send_break(self) -> None:
        self.out += bytes((IAC, BREAK))

    def receive(self, data: bytes) -> bytes:
        """Returns what of it is data."""
        found = bytearray()
        place = 0
        while place < len(data):
            if self._state == 0 and not self._after_cr:
                special = _SPECIAL.search(data, place)
                end = special.start() if special else len(data)
                found += data[place:end]
                place = end
            if place < len(data):
                self._byte(data[place], found)
                place += 1
        return bytes(found)

    def _byte(self, byte: int, found: bytearray) -> None:
        if self._state == 0:
            self._plain(byte, found)
        elif self._state == SB:
            self._in_part(byte)
        elif self._state == IAC:
            self._command(byte, found)
        else:
            command, self._state = self._state, 0
            self._negotiate(command, byte)

    def _plain(self, byte: int, found: bytearray) -> None:
        after_cr, self._after_cr = self._after_cr, byte == _CR and BINARY not in self.theirs
        if byte == IAC:
            self._state, self._after_cr = IAC, after_cr
        elif not (after_cr and byte == _NUL):
            found.append(byte)

    def _command(self, byte: int, found: bytearray) -> None:
        self._state = byte if byte in (WILL, WONT, DO, DONT, SB) else 0
        if byte == IAC:
            found.append(IAC)
            self._after_cr = False
        elif byte == SB:
            self._part.clear()
            self._part_iac = False
        elif byte == BREAK:
            self._on_break()

    def _in_part(self, byte: int) -> None:
        if self._part_iac:
            self._part_iac = False
            if byte == IAC:
                self._take(byte)
                return
            self._state = 0
            if self._part and self._part[0] in self.ours | self.theirs:
                self._on_part(self._part[0], bytes(self._part[1:]))
            if byte != SE:  # a subnegotiation that was not ended: this begins another command
                self._command(byte, bytearray())
        elif byte == IAC:
            self._part_iac = True
        else:
            self._take(byte)

    def _take(self, byte: int) -> None:
        if len(self._part) < MOST:
            self._part.append(byte)

    def _negotiate(self, command: int, option: int) -> None:
        """DO and DONT speak of this end, WILL and WONT of the other."""
        asks = DO if command in (DO, DONT) else WILL
        agreed = self.ours if asks == DO else self.theirs
        yes, no = (WILL, WONT) if asks == DO else (DO, DONT)
        asked = (yes, option) in self._asked
        self._asked.discard((yes, option))
        if command == asks:
            if option in self._may[asks]:
                if option not in agreed and not asked:
                    self.out += bytes((IAC, yes, option))
                agreed.add(option)
            else:
                self.out += bytes((IAC, no, option))
        elif option in agreed:
            agreed.discard(option)
            self.out += bytes((IAC, no, option))
