"""`netops-agent doctor`: what is wrong, each in a sentence that says what to do."""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path

from pi_agent.config import NO_LINK, Config, parse_pin
from pi_agent.identity import Identity, IdentityError
from pi_agent.machine import Machine
from pi_agent.post import explain, open_connection
from pi_agent.registration import Port
from pi_agent.state import Enrolled, StateError, is_running

SKEW_S = 60
TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Finding:
    well: bool
    sentence: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.well else 'WRONG'}  {self.sentence}"


def examine(config: Config) -> Iterator[Finding]:
    """One finding a thing, as they are found: reaching the server may take seconds."""
    for check in (_key, _enrolment, _service):
        try:
            yield check(config)
        except (IdentityError, StateError, ValueError) as error:
            yield Finding(False, str(error))
    for url, pin in _servers(config):
        yield from _reach(url, pin)
    yield from _ports(config)


def _key(config: Config) -> Finding:
    Identity.load(config.key_file)
    owner, agent = config.key_file.stat().st_uid, config.folder.stat().st_uid
    if owner not in (agent, os.geteuid()):
        return Finding(
            False, f"the agent may not read its key: run chown --reference={config.folder} {config.key_file}"
        )
    return Finding(True, f"the key is {config.key_file}")


def _enrolment(config: Config) -> Finding:
    enrolled = Enrolled.load(config.folder)
    if enrolled:
        return Finding(True, f"enrolled with {enrolled.server} as {enrolled.agent}")
    if config.link:
        return Finding(True, f"the link goes to {config.link}, as the configuration says")
    return Finding(False, "this agent is not enrolled: run netops-agent enrol URL TOKEN with a token of your team")


def _service(config: Config) -> Finding:
    if is_running(config.folder):
        return Finding(True, "the agent runs")
    return Finding(
        False, "the agent does not run: systemctl enable --now netops-agent, or see journalctl -u netops-agent"
    )


def _servers(config: Config) -> Iterator[tuple[str, bytes | None]]:
    """(URL for HTTP, pin) of what the agent has to reach."""
    try:
        enrolled = Enrolled.load(config.folder)
    except StateError:
        enrolled = None
    if config.link == NO_LINK:
        if server := config.server or (enrolled.server if enrolled else ""):
            yield server, parse_pin(config.pin) if config.pin else _pin(enrolled)
    elif link := config.link or (enrolled.link if enrolled else ""):
        pin = parse_pin(config.pin) if config.pin else _pin(enrolled) if not config.link else None
        for url in link.split():
            # ws:// and wss:// begin as http:// and https:// do.
            yield url.replace("ws", "http", 1).removesuffix("/link") if url.startswith("ws") else url, pin


def _pin(enrolled: Enrolled | None) -> bytes | None:
    return bytes.fromhex(enrolled.pin) if enrolled else None


def _reach(url: str, pin: bytes | None) -> Iterator[Finding]:
    """Name, way, firewall, TLS and key by one request; the clock by its answer."""
    connection = open_connection(url, pin, TIMEOUT_S)
    try:
        connection.request("GET", "/")
        date = connection.getresponse().getheader("Date", "")
    except (OSError, HTTPException) as error:
        yield Finding(False, explain(error, url))
        return
    finally:
        connection.close()
    yield Finding(True, f"{url} answers" + (" and has the pinned key" if pin and url.startswith("https") else ""))
    try:
        yield clock(time.time() - parsedate_to_datetime(date).timestamp())
    except ValueError:  # a server that does not tell its time
        return


def clock(ahead_s: float) -> Finding:
    """The link does without; times that people compare do not."""
    if abs(ahead_s) <= SKEW_S:
        return Finding(True, "the clock is right")
    way = "ahead of" if ahead_s > 0 else "behind"
    fix = "let NTP through the firewall (UDP port 123) and run timedatectl set-ntp true"
    return Finding(False, f"the clock is {abs(ahead_s) / 60:.0f} min {way} the server's: {fix}")


def _ports(config: Config) -> Iterator[Finding]:
    ports = Machine(config.wanted).registration().ports
    if not ports:
        yield Finding(True, "there are no serial ports")
    try:
        user = pwd.getpwuid(config.folder.stat().st_uid)
    except (OSError, KeyError):
        return
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for port in ports:
        yield port_finding(port, user.pw_name, lambda each: may_open(each, user.pw_uid, groups))


def port_finding(
    port: Port, user: str, opens: Callable[[os.stat_result], bool], consoles: Path = Path("/proc/consoles")
) -> Finding:
    try:
        status = os.stat(port.device)
    except OSError as error:
        return Finding(False, f"{port.name} cannot be seen ({error.strerror}): plug it in again")
    if not opens(status):
        group = _group(status.st_gid)
        if status.st_mode & 0o060 != 0o060 or group == "root":
            return Finding(False, f"{user} may not open {port.name}: give it the group dialout by a rule of udev")
        fix = f"usermod -aG {group} {user}, then restart the agent"
        return Finding(False, f"{user} may not open {port.name}: run {fix}")
    if Path(port.device).name in _consoles(consoles):
        fix = "switch it off with raspi-config, or put the port on ports.exclude"
        return Finding(False, f"this machine's own console is on {port.name}: {fix}")
    return Finding(True, f"{port.name} can be opened by {user}")


def may_open(status: os.stat_result, uid: int, groups: list[int]) -> bool:
    """As path_resolution(7): the first class that fits decides."""
    if uid == 0:
        return True
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    return status.st_mode >> shift & 0o6 == 0o6


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _consoles(file: Path) -> set[str]:
    try:
        return {line.split()[0] for line in file.read_text().splitlines() if line.strip()}
    except OSError:
        return set()
