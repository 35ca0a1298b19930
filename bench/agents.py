"""What agents cost a gateway: real links over TLS with registrations and beats; memory and CPU of its one process.

Baseline: the same gateway before the first link. The agents' ends run in a process of their own.
"""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.support import finish, quick, table

GATEWAY = (
    "import django; django.setup(); import netops.celery; from agents.gateway import main; raise SystemExit(main())"
)
TCP_INFO = struct.Struct("=120xQQII")
"""bytes acknowledged, bytes received, segments out, segments in (linux/tcp.h, struct tcp_info)."""
HEADERS = 52
"""Bytes of IPv4 and of TCP with timestamps in each segment."""


def main() -> None:
    # Not by the agents' process, which has to find this one's installation: this takes NETOPS_ out of the environment.
    from bench.fill import installed
    from bench.idle import cpu_s

    few, count, seconds = (20, 100, 20) if quick() else (100, 1000, 120)
    with installed() as data:
        (data / "keys").write_text("\n".join(enrolled(count)))
        gateway = started(data)
        rows = [measured("no link yet", 0, gateway)]
        command = [sys.executable, __file__, "--agents", str(data / "keys")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agents:

            def ask(what: str) -> float:
                assert agents.stdin
                assert agents.stdout
                print(what, file=agents.stdin, flush=True)
                return float(agents.stdout.readline())

            ask(f"link {few}")
            rows.append(measured("first links", few, gateway))
            linked_s = ask(f"link {count}")
            rows.append(measured("all links", count, gateway))
            carried, began, cpu = ask("carried"), time.monotonic(), cpu_s(gateway.pid)
            time.sleep(seconds)
            percent = (cpu_s(gateway.pid) - cpu) / (time.monotonic() - began) * 100
            hourly_kb = (ask("carried") - carried) / count / (time.monotonic() - began) * 3600 / 1000
            assert online() == count
            gateway.kill()
            gateway.wait()
            gateway = started(data)
            reconnect_s = ask(f"link {count}")
            rows.append(measured("after kill -9", count, gateway))
            if agents.stdin:
                agents.stdin.close()
        gateway.terminate()
        gateway.wait(30)
    told(rows, percent, hourly_kb, linked_s, reconnect_s)


def told(
    rows: list[tuple[str, int, int]], percent: float, hourly_kb: float, linked_s: float, reconnect_s: float
) -> None:
    """`rows`: before any link, with few, with all, and with all again; (what, links, PSS in kB) each."""
    few, count = rows[1][1], rows[2][1]
    each = (rows[2][2] - rows[1][2]) / (count - few)
    fixed_mb = (rows[1][2] - few * each - rows[0][2]) / 1024
    table(("gateway", "links", "PSS kB"), rows)
    print(f"{each:.1f} kB a link: the slope from {few} to {count} links; {fixed_mb:.1f} MB come once, with the first")
    print(f"{percent:.1f} % of a core at rest; an idle link carries {hourly_kb:.0f} kB an hour")
    print(f"{count - few} new agents were linked and registered in {linked_s:.1f} s")
    print(f"{count} were back {reconnect_s:.1f} s after the gateway listened again")
    finish(
        kb_per_agent=round(each, 1),
        core_percent=round(percent, 1),
        idle_kb_per_hour=round(hourly_kb),
        linked_s=round(linked_s, 1),
        reconnect_s=round(reconnect_s, 1),
    )


def started(data: Path) -> "subprocess.Popen[bytes]":
    """A gateway that listens; what it says is in a file, for a pipe that nobody empties holds it up."""
    with (data / "gateway.log").open("wb") as said:
        gateway = subprocess.Popen([sys.executable, "-c", GATEWAY], stderr=said)
    while b"listens" not in (data / "gateway.log").read_bytes():
        assert gateway.poll() is None
        time.sleep(0.05)
    return gateway


def measured(what: str, links: int, gateway: "subprocess.Popen[bytes]") -> tuple[str, int, int]:
    """A row of the table, once registrations and first beats are over."""
    from bench.idle import pss_kb

    time.sleep(10)
    return what, links, pss_kb(gateway.pid)


def enrolled(count: int) -> list[str]:
    """Private keys of so many agents of one team, in hexadecimal."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from agents.models import Agent
    from core.scope import team_scope
    from tenancy.services import team_create

    keys = [Ed25519PrivateKey.generate() for _ in range(count)]
    with team_scope(team_create(slug="many", name="Many").pk):
        Agent.objects.bulk_create(
            Agent(name=f"pi{n}", public_key=key.public_key().public_bytes_raw().hex()) for n, key in enumerate(keys)
        )
    return [key.private_bytes_raw().hex() for key in keys]


def online() -> int:
    """How many agents are online by the database."""
    from agents.models import Agent
    from core.scope import team_scope
    from tenancy.models import Team

    with team_scope(Team.objects.get(slug="many").pk):
        return int(Agent.objects.with_status().filter(online=True, status="online").count())


class Crowd:
    """The agents' ends, in one process; `up`: those whose link is up and registered."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.tasks: list[asyncio.Task[None]] = []
        self.up: set[int] = set()

    def start(self) -> None:
        """One agent more."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from agents.tls import pin
        from netops import home
        from pi_agent.identity import Identity
        from pi_agent.link import Link, boot_id
        from pi_agent.outbox import Outbox
        from pi_agent.registration import Interface, Port, Registration

        number = len(self.tasks)
        link = Link(
            f"wss://127.0.0.1:{home.port('gateway')}/link",
            Identity(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.keys[number]))),
            print,
            Outbox(1 << 16),
            pin=pin(),
            on_tunnel=lambda _: self.up.add(number),
            on_down=lambda _: self.up.discard(number),
        )
        interfaces = (Interface("eth0", True, "b8:27:eb:00:00:01", ("192.0.2.1", "2001:db8::1")),)
        ports = tuple(Port(f"usb-{n}", f"/dev/ttyUSB{n}", "0403", "6001", f"A{n}", "FT232R") for n in range(8))
        software = ("Raspberry Pi 4", "Debian 12", "0.1.0")
        link.register(Registration(f"pi{number}", str(number), *software, boot_id(), 1, interfaces, ports))
        self.tasks.append(asyncio.create_task(link.run()))

    async def linked(self, count: int) -> float:
        """Seconds until so many are up, from now or from when the first one went down."""
        began = time.monotonic()
        while len(self.tasks) < count:
            self.start()
        while len(self.up) < count:
            await asyncio.sleep(0.05)
        return time.monotonic() - began


async def agents(keys: list[str]) -> None:
    """Does what it is told on standard input, a line each, and answers each with a number."""
    crowd = Crowd(keys)
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["link", count]:
                print(await crowd.linked(int(count)), flush=True)
            case ["carried"]:
                print(carried(), flush=True)
    for task in crowd.tasks:
        task.cancel()


def carried() -> int:
    """Bytes of all TCP connections of this process so far, with their headers."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as each:
                if each.family == socket.AF_INET and each.type == socket.SOCK_STREAM:
                    sent, got, out, into = TCP_INFO.unpack(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144))
                    total += sent + got + (out + into) * HEADERS
        except OSError:
            continue
    return total


if __name__ == "__main__":
    if "--agents" in sys.argv:
        import logging

        import django
        import uvloop

        django.setup()
        logging.disable(logging.WARNING)
        uvloop.run(agents(Path(sys.argv[2]).read_text().split()))
    else:
        main()
