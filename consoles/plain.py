"""What a terminal would show of output, as text: for search, tickets, tables and downloads.

Control functions are those of ECMA-48 (5th edition) as xterm reads them: C0 and C1, escape sequences, CSI, and the
strings OSC, DCS, SOS, PM, APC. What moves within a row and rewrites it is applied, as editing on a command line does;
what moves to another row begins a new one here; all else is left out. Output is hostile: a sequence that does not end
ends with its line, so nothing that follows is hidden, and lines, columns and repetitions have a limit. What comes out
has neither control characters nor those that turn the direction of text (Unicode TR 36, 3.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LINE = 16 << 10
"""Bytes after which a line counts as ended."""
WIDTH = 512
"""Columns after which a row with control functions goes on in the next: the cursor is sent no further."""

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+)"
    # A string: to its end, to what ends any sequence, or to the end of the line.
    r"|(?P<string>(?:\x1b[P\]X^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|\x18|\x1a)?)"
    r"|(?:\x1b\[|\x9b)(?P<csi>[\x30-\x3f]*[\x20-\x2f]*)(?P<final>[\x40-\x7e])?"
    r"|(?P<escape>\x1b[\x20-\x2f]*[\x30-\x7e]?)"
    r"|(?P<control>.)",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*\Z")
_NEW_ROW = {"\n", "\x0b", "\x0c", "\x84", "\x85", "\x8d", "\x1bD", "\x1bE", "\x1bM", "\x1bc"}
_ROW_MOVES = frozenset("ABEFHdef")


def rows(line: bytes) -> list[str]:
    """The rows that `line` (bytes of UTF-8, as Lines cuts them) leaves on a screen, without spaces at their ends.

    At least one, which may be empty; U+FFFD stands for what is no UTF-8.
    """
    text = line.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")
    if _PLAIN.match(text):
        return [text.rstrip()]
    page = _Page()
    for token in _TOKEN.finditer(text):
        if kind := token.lastgroup:
            page.take(kind, token)
    return page.end()


def plain(line: bytes) -> str:
    """The rows of a line as one."""
    return " ".join(filter(None, rows(line)))


class Lines:
    """Cuts a stream into lines. Memory: one line."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        """Where the line that has not ended yet begins."""
        self._rest = b""

    def feed(self, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(offset, line with its end) of those that `data`, which is at `offset`, ends; a gap ends a line too."""
        if offset != self.offset + len(self._rest):
            yield from self.close()
            self.offset = offset
        data, start = self._rest + data, 0
        while start < len(data):
            end = data.find(b"\n", start, start + LINE) + 1
            if not end and len(data) - start < LINE:
                break
            end = end or start + LINE
            self.offset += end - start
            yield self.offset - (end - start), data[start:end]
            start = end
        self._rest = data[start:]

    def close(self) -> Iterator[tuple[int, bytes]]:
        """What has not ended, if there is any."""
        if self._rest:
            start, line = self.offset, self._rest
            self.offset, self._rest = start + len(line), b""
            yield start, line


class _Page:
    """One row being written, and those that are done."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._row: list[str] = []
        self._column = 0

    def take(self, kind: str, token: re.Match[str]) -> None:
        match kind:
            case "text":
                self._write(token["text"])
            case "csi" | "final":
                self._csi(token["csi"], token["final"] or "")
            case "escape" | "control":
                self._control(token[0])

    def end(self) -> list[str]:
        self._new_row()
        return self._done or [""]

    def _write(self, text: str) -> None:
        while text:
            if self._column >= WIDTH:
                self._new_row()
            now, text = text[: WIDTH - self._column], text[WIDTH - self._column :]
            self._row += " " * (self._column - len(self._row))
            self._row[self._column : self._column + len(now)] = now
            self._column += len(now)

    def _control(self, which: str) -> None:
        if which == "\r":
            self._column = 0
        elif which == "\b":
            self._go(self._column - 1)
        elif which == "\t":
            self._go(self._column + 8 - self._column % 8)
        elif which in _NEW_ROW:
            self._new_row()
        elif which in "\u2028\u2029":
            self._write(" ")

    def _csi(self, parameters: str, final: str) -> None:
        if not all(each in "0123456789;" for each in parameters):
            return  # private, or with intermediate bytes
        given = min(int(parameters.partition(";")[0][:6] or 0), WIDTH)
        count, row, here = max(1, given), self._row, self._column
        match final:
            case "C" | "a":
                self._go(here + count)
            case "D":
                self._go(here - count)
            case "G" | "`":
                self._go(count - 1)
            case "K" if given == 0:
                del row[here:]
            case "K" if given == 1:
                row[: here + 1] = " " * min(here + 1, len(row))
            case "K":
                row.clear()
            case "X":
                row[here : here + count] = " " * min(count, max(0, len(row) - here))
            case "P":
                del row[here : here + count]
            case "@" if here < len(row):
                row[here:here] = " " * count
                del row[WIDTH:]
            case _ if final in _ROW_MOVES or (final == "J" and given):
                self._new_row()

    def _go(self, column: int) -> None:
        self._column = min(max(0, column), WIDTH)

    def _new_row(self) -> None:
        if text := "".join(self._row).rstrip():
            self._done.append(text)
        self._row, self._column = [], 0
