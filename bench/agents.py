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
from typing import Any

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
    from bench.idle import cpu_s, pss_kb

    count, seconds = (100, 20) if quick() else (1000, 120)
    with installed() as data:
        keys = enrolled(count)
        (data / "keys").write_text("\n".join(keys))
        gateway = subprocess.Popen([sys.executable, "-c", GATEWAY], stderr=subprocess.PIPE, text=True)
        assert gateway.stderr
        assert "listens" in gateway.stderr.readline()
        time.sleep(3)
        before = pss_kb(gateway.pid)
        command = [sys.executable, __file__, "--agents", str(data / "keys"), str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agents:
            assert agents.stdout
            linked_s = float(agents.stdout.readline())
            time.sleep(10)  # registrations and first plans
            began, cpu = time.monotonic(), cpu_s(gateway.pid)
            hourly_kb = float(agents.stdout.readline())
            percent = (cpu_s(gateway.pid) - cpu) / (time.monotonic() - began) * 100
            after = pss_kb(gateway.pid)
            assert beating() == count
        gateway.terminate()
        gateway.wait(30)
    each = (after - before) / count
    table(
        ("gateway", "links", "PSS MB", "% of a core"),
        [("before", 0, f"{before / 1024:.1f}", ""), ("after", count, f"{after / 1024:.1f}", f"{percent:.1f}")],
    )
    print(
        f"{each:.1f} kB a link; all were linked after {linked_s:.1f} s; an idle link carries {hourly_kb:.0f} kB an hour"
    )
    finish(kb_per_agent=round(each, 1), core_percent=round(percent, 1), idle_kb_per_hour=round(hourly_kb))


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


def beating() -> int:
    """How many agents are online by the database."""
    from agents.models import Agent
    from core.scope import team_scope
    from tenancy.models import Team

    with team_scope(Team.objects.get(slug="many").pk):
        return int(Agent.objects.filter(online=True).count())


async def agents(keys: list[str], seconds: int) -> None:
    """Links of all keys; prints how long it took, then what an idle one carries."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from agents.tls import pin
    from netops import home
    from pi_agent.identity import Identity
    from pi_agent.link import Link, boot_id
    from pi_agent.outbox import Outbox
    from pi_agent.registration import Interface, Port, Registration

    interfaces = (Interface("eth0", True, "b8:27:eb:00:00:01", ("192.0.2.1", "2001:db8::1")),)
    ports = tuple(Port(f"usb-{n}", f"/dev/ttyUSB{n}", "0403", "6001", f"A{n}", "FT232R") for n in range(8))
    machine = Registration("pi", "1", "Raspberry Pi 4", "Debian 12", "0.1.0", boot_id(), 1, interfaces, ports)
    up: set[int] = set()
    began = time.monotonic()
    links, tasks = [], []
    for number, key in enumerate(keys):
        identity = Identity(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)))
        url = f"wss://127.0.0.1:{home.port('gateway')}/link"

        def linked(terms: Any, number: int = number) -> None:
            up.add(number)

        link = Link(url, identity, print, Outbox(1 << 16), pin=pin(), on_tunnel=linked)
        link.register(machine)
        links.append(link)
        tasks.append(asyncio.create_task(link.run()))
        await asyncio.sleep(0.01)
    while len(up) < len(keys):
        await asyncio.sleep(0.1)
    print(time.monotonic() - began, flush=True)
    await asyncio.sleep(10)
    before = carried()
    await asyncio.sleep(seconds)
    print((carried() - before) / len(keys) / seconds * 3600 / 1000, flush=True)
    for task in tasks:
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
        import django

        django.setup()
        asyncio.run(agents(Path(sys.argv[2]).read_text().split(), int(sys.argv[3])))
    else:
        main()
