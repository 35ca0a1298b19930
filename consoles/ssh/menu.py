"""The list of consoles that an SSH client gets which names none."""

from __future__ import annotations

from collections.abc import Sequence

from consoles.selectors import Named
from consoles.ssh.terminal import Terminal
from tenancy.models import Seat

PAGE = 20
Choice = tuple[Seat, Named]


async def choose(terminal: Terminal, ports: Sequence[Choice]) -> Choice | None:
    """A number opens one, any other text narrows the list to what contains it; None where the person leaves."""
    shown, several = list(ports), len({seat.team_id for seat, _ in ports}) > 1
    while True:
        await _print(terminal, shown, several)
        line = await terminal.ask("> ")
        if line is None or line.lower() == "q":
            return None
        if line.isdecimal() and 1 <= int(line) <= len(shown):
            return shown[int(line) - 1]
        found = [each for each in ports if line.lower() in _text(each, several).lower()]
        if not found:
            await terminal.say(f"no console has {line} in its name")
        shown = found or list(ports)


def listed(ports: Sequence[Choice]) -> list[str]:
    """For a script: what follows `USER:`, a line a console."""
    return [f"{seat.slug}/{port.title}" for seat, port in ports]


async def _print(terminal: Terminal, shown: Sequence[Choice], several: bool) -> None:
    lines = [f"{number:3}  {_text(each, several)}" for number, each in enumerate(shown[:PAGE], 1)]
    if len(shown) > PAGE:
        lines.append(f"     and {len(shown) - PAGE} more")
    if not shown:
        lines.append("     No consoles yet.")
    await terminal.print("\n".join(["", *lines, "", "A number opens it, a part of a name searches, q leaves."]))


def _text(choice: Choice, several: bool) -> str:
    seat, port = choice
    return f"{seat.slug + '/' if several else ''}{port.title:20} {port.device or '-':20} on {port.agent}"
