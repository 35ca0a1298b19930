"""Patterns of rules: RE2, so that no pattern is slow on any line, and all of a team in one pass.

Each line is looked at by itself, as plain text. Where nothing in many lines differs from their plain text they are
looked at at once, which costs half; what is found there is looked for by itself to learn its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import re2

from consoles.plain import Lines, plain

MAX_PATTERN = 300
GROUP = 8 << 10
"""Bytes of lines that are looked at at once."""
_MEMORY = 128 << 20
"""Of the automaton of a team's patterns; one pattern has `_ONE` of it."""
_ONE = 1 << 20
# Lines are looked at in groups: their ends must be the ends that a pattern knows.
_WHOLE_TEXT = re.compile(r"(?<!\\)(?:\\\\)*(\\[AzC]|\(\?\w*-\w*m)")
_ORDINARY = bytes([0x0A, *range(0x20, 0x7F)])


def complaint(pattern: str) -> str:
    """One sentence on what is wrong with a pattern and where in it; empty where it can be used."""
    if not pattern.isprintable():
        unseen = next(number for number, each in enumerate(pattern, 1) if not each.isprintable())
        return f"Character {unseen} of the pattern cannot be seen: write it as an escape such as \\t or \\x1b."
    if found := _WHOLE_TEXT.search(pattern):
        what = f"{found[1]!r} at character {found.start(1) + 1} of the pattern"
        return f"{what} has no meaning here: ^ and $ are the ends of a line."
    if error := _error(pattern):
        what, _, part = error.partition(": ")
        place = _place(pattern, what, part)
        where = f"at character {place + 1}, {pattern[place:]!r}" if place < len(pattern) else "at its end"
        return f"The pattern does not compile: {what} {where}."
    if re2.compile(pattern.encode(), _options(_ONE)).search(b""):
        return "The pattern matches an empty line too, so it would match every line: name something that must be there."
    return ""


class PatternSet:
    """The patterns of a team, by the ids of their rules."""

    def __init__(self, patterns: Sequence[tuple[int, str]]) -> None:
        """Each of them without complaint. Raises re2.error where together they are too large."""
        self._ids = [number for number, _ in patterns]
        self._patterns = [f"(?m:{pattern})".encode() for _, pattern in patterns]
        self._compiled: dict[int, Any] = {}
        self._set = re2.Set.SearchSet(_options(_MEMORY))
        for pattern in self._patterns:
            self._set.Add(pattern)
        if patterns:
            self._set.Compile()

    def of_line(self, text: str) -> list[int]:
        """The rules that match a line of plain text."""
        return sorted(self._ids[number] for number in self._set.Match(text.encode()) or ())

    def of_lines(self, offset: int, data: bytes) -> Iterator[tuple[int, str, list[int]]]:
        """(offset, plain text, rules) of each line that matches, of `data`, which is whole lines at `offset`."""
        for start, group in _groups(data):
            text = group.replace(b"\r\n", b"\n")
            if b" \n" not in text and not text.translate(None, _ORDINARY):
                yield from self._of_ordinary(offset + start, group, text)
                continue
            cut = Lines(offset + start)
            for where, line in (*cut.feed(offset + start, group), *cut.close()):
                shown = plain(line)
                if rules := self.of_line(shown):
                    yield where, shown, rules

    def _of_ordinary(self, offset: int, group: bytes, text: bytes) -> Iterator[tuple[int, str, list[int]]]:
        """`text`: the group as its lines are in plain text."""
        found: dict[int, set[int]] = {}
        for number in self._set.Match(text) or ():
            for match in self._one(number).finditer(text):
                found.setdefault(text.count(b"\n", 0, match.start()), set()).add(self._ids[number])
        if found:
            for number, line in enumerate(group.split(b"\n")):
                if number in found:
                    yield offset, line.rstrip().decode(), sorted(found[number])
                offset += len(line) + 1

    def _one(self, number: int) -> Any:
        if number not in self._compiled:
            self._compiled[number] = re2.compile(self._patterns[number], _options(_ONE))
        return self._compiled[number]


def _groups(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + GROUP) + 1
        end = end or data.find(b"\n", start + GROUP) + 1 or len(data)
        yield start, data[start:end]
        start = end


def _error(pattern: str) -> str:
    """As RE2 says it: what, and mostly the part it means, `missing ]: [b`."""
    try:
        re2.compile(pattern.encode(), _options(_ONE))
    except re2.error as error:
        return str(error.args[0].decode(errors="replace"))
    return ""


def _place(pattern: str, what: str, part: str) -> int:
    """Of a parenthesis RE2 says the whole pattern: the one meant is where the rest, or the beginning, errs likewise."""
    if what == "missing )":
        starts = (at for at in range(len(pattern) - 1, -1, -1) if pattern[at] == "(")
        return next((at for at in starts if _error(pattern[at:]).startswith(what)), 0)
    if what == "unexpected )":
        ends = (at for at in range(len(pattern)) if pattern[at] == ")")
        return next((at for at in ends if _error(pattern[: at + 1]).startswith(what)), 0)
    return pattern.rfind(part) if part else len(pattern)


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    options.never_nl = True
    return options
