"""conserver's escapes: `^Ec` and a letter, in what a person types."""

from __future__ import annotations

from collections.abc import Iterator

ESCAPE = b"\x05c"
HELP = """\
 ^Ec.   disconnect             ^Eca   attach: type here; again: alone
 ^Ecs   spy: look on only      ^Ecf   force: take the console over
 ^Ecw   who is here            ^Ec+   let the one who asks have it
 ^Ecr   the last 20 lines      ^Ec-   refuse the one who asks
 ^Ecp   the last 60 lines      ^Ecl0  send a break
 ^Ec^E  send ^E                ^Ec?   this help"""


class Escapes:
    """Takes what is typed, however it is cut, apart into keystrokes and commands."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, typed: bytes) -> Iterator[tuple[str, bytes]]:
        """("", keys) for the device, or (command, b""): a letter, or "l0"; "?!" for one that there is not."""
        typed, self._held = self._held + typed, b""
        while typed:
            keys, found, rest = typed.partition(ESCAPE)
            if not found and keys.endswith(ESCAPE[:1]):
                keys, self._held = keys[:-1], ESCAPE[:1]
            if keys:
                yield "", keys
            if not found:
                return
            length = 2 if rest[:1] == b"l" else 1
            if len(rest) < length:
                self._held = found + rest
                return
            command, typed = rest[:length].decode("latin-1"), rest[length:]
            if command == "\x05":
                yield "", b"\x05"
            elif command != "\r":
                yield (command if command in {".", "a", "s", "f", "w", "+", "-", "r", "p", "l0", "?"} else "?!"), b""
