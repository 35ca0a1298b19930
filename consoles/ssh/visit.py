"""Where somebody who is in goes: to the console they named, or to one they choose."""

from __future__ import annotations

from dataclasses import dataclass

from consoles.hub import Hub
from consoles.selectors import Named
from consoles.sessions import Session
from consoles.ssh.attach import Attached
from consoles.ssh.menu import choose, listed
from consoles.ssh.rights import Rights, Unknown, asked_for
from consoles.ssh.terminal import Terminal
from tenancy.models import Seat
from tenancy.roles import can
from tenancy.ssh import SshPerson


@dataclass(frozen=True)
class Visitor:
    """`fingerprint` of the key they came with, empty for a password; `wish`: what followed their name."""

    person: SshPerson
    fingerprint: str
    wish: str


async def visit(hub: Hub, rights: Rights, visitor: Visitor, terminal: Terminal) -> int:
    """To its end; the exit status."""
    slug, _, wanted = visitor.wish.partition("/")
    seats = [seat for seat in visitor.person.seats if can(seat.role, "console.read") and slug in ("", seat.slug)]
    if not seats:
        await terminal.say(f"You are in no team called {slug}." if slug else "You are in no team yet.")
        return 1
    try:
        ports = [(seat, port) for seat in seats for port in await rights.ports(seat)]
    except Unknown:
        await terminal.say("Which consoles there are cannot be looked up now: try again in a minute.")
        return 1
    if wanted:
        named = {port.port_id for port in asked_for([port for _, port in ports], wanted)}
        ports = [(seat, port) for seat, port in ports if port.port_id in named]
        if len(ports) == 1:
            return await _open(hub, rights, visitor, terminal, *ports[0])
        await terminal.say(f"{'More than one' if ports else 'No'} console is called {wanted}.")
    if terminal.raw or not ports:
        await terminal.print("\n".join(listed(ports)) if ports or wanted else "No consoles yet.")
        return 1 if wanted else 0
    chosen = await choose(terminal, ports)
    return await _open(hub, rights, visitor, terminal, *chosen) if chosen else 0


async def _open(hub: Hub, rights: Rights, visitor: Visitor, terminal: Terminal, seat: Seat, port: Named) -> int:
    name = visitor.person.name

    async def find_seat() -> Seat | None:
        return await rights.seat(name, seat.team_id, visitor.fingerprint)

    end = hub.port(seat.team_id, port.port_id).end
    async with Session(hub, seat, port.port_id, find_seat, name=name, via="ssh", start=end) as session:
        if not terminal.raw:
            await terminal.say(f"{port.title} of {seat.name}: ^Ec? for help, ^Ecr for the last lines, ^Ec. to leave")
        why = await Attached(terminal, session).stay()
    if why:
        await terminal.say(why)
    return 1 if why else 0
