"""Consoles against ser2net and conserver on the same terminals, in turn: a real gateway, agent, log and viewers."""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.console_ends import (
    HANG_S,
    Conserver,
    Devices,
    Raw,
    Viewer,
    carried,
    cutter,
    devices,
    echoes,
    echoes_of_many,
    pattern,
)
from bench.support import finish, quick, spread, table

ROOT = Path(__file__).resolve().parent.parent
MANY, VIEWERS = 200, 32
ROUNDS = 1 if quick() else 3
KEYS, KEYS_OF_MANY = (200, 1000) if quick() else (2000, 10_000)
BULK = (4 if quick() else 32) << 20
LOST = (10 if quick() else 300) * 1_000_000
AGENT = """
import sys; from functools import partial; from pi_agent import __main__ as program
# A link that is cut all the time is not what its back-off is for.
program.Link = partial(program.Link, backoff=(0.001, 0.05))
sys.exit(program.main(["run"]))
"""
Figures = dict[str, list[float]]


class Ours:
    """An installation with one agent that has the terminals; `url`: of its link."""

    def __init__(self, data: Path) -> None:
        from django.test import Client

        from agents.services import agent_create
        from agents.tls import pin
        from core.scope import team_scope
        from netops import home
        from pi_agent.identity import Identity
        from tenancy.models import User
        from tenancy.services import member_set, team_create

        self.data = data
        self.team = team_create(slug="bench", name="Bench")
        self.user = User.objects.create_user("bench", "bench@example.org", None)
        member_set(team=self.team, user=self.user, role="owner")
        self.state = data / "agent"
        self.state.mkdir(mode=0o700)
        key = Identity.create(self.state / "agent.key").public.hex()
        with team_scope(self.team.pk):
            self.agent = agent_create(name="bench", public_key=key)
        self.plain = f"unix:{data / 'run' / 'gateway.sock'}"
        self.tls = f"wss://127.0.0.1:{home.port('gateway')}/link"
        self.pin = pin()
        client = Client()
        client.force_login(self.user)
        self.cookie = "; ".join(f"{name}={value.value}" for name, value in client.cookies.items())

    @contextmanager
    def serving(self, names: Sequence[str], url: str) -> Iterator[None]:
        """With the agent's program on these terminals."""
        import base64

        environment = {
            "NETOPS_AGENT_LINK": url,
            "NETOPS_AGENT_PIN": base64.b64encode(self.pin).decode(),
            "NETOPS_AGENT_STATE": str(self.state),
            "NETOPS_AGENT_PORTS_EXCLUDE": "*",
            "NETOPS_AGENT_PORTS_EXTRA": " ".join(names),
        }
        with (self.data / "agent.log").open("ab") as said:
            command = [sys.executable, "-c", AGENT]
            process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=said)
        try:
            yield
        finally:
            process.terminate()
            process.wait(HANG_S)

    def ports(self, names: Sequence[str]) -> list[Any]:
        """The consoles of these terminals; waits for them to be known."""
        from consoles.models import ConsolePort
        from core.scope import team_scope

        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            with team_scope(self.team.pk):
                found = {port.name: port for port in ConsolePort.objects.filter(name__in=names)}
            if len(found) == len(names):
                return [found[name] for name in names]
            time.sleep(0.1)
        raise TimeoutError("the agent did not register: see agent.log")

    def view(self, port: Any, start: int | None = None) -> Viewer:
        from consoles.services import ticket_issue
        from core.scope import team_scope
        from netops import home

        with team_scope(self.team.pk):
            ticket = ticket_issue(port=port, user=self.user, writes=True)
        return Viewer((home.port("console"), f"/console/{self.team.slug}/{port.pk}"), self.cookie, ticket, start)

    def viewers(self, names: Sequence[str], each: int = 1) -> list[Viewer]:
        """At the end of what each port said, once it is open."""
        found = [self.view(port, 1 << 61) for port in self.ports(names) for _ in range(each)]
        for viewer in found:
            while viewer.trouble:
                viewer.read()
        return found


def ser2net(folder: Path, names: Sequence[str], port: int) -> "subprocess.Popen[bytes]":
    lines = [
        f"connection: &c{number}\n  accepter: tcp,127.0.0.1,{port + number}\n"
        f"  connector: serialdev,{name},115200n81,local\n"
        for number, name in enumerate(names)
    ]
    (folder / "ser2net.yaml").write_text("%YAML 1.1\n---\n" + "".join(lines))
    return subprocess.Popen(
        ["ser2net", "-n", "-u", "-c", folder / "ser2net.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def conserver(folder: Path, name: str, port: int) -> "subprocess.Popen[bytes]":
    (folder / "conserver.cf").write_text(
        f"config * {{ sslrequired no; setproctitle no; }}\n"
        f"access * {{ trusted 127.0.0.1; }}\n"
        f"default * {{ master localhost; rw *; logfile {folder}/&.log; logfilemax 1000m; }}\n"
        f"console bench {{ type device; device {name}; baud 115200; parity none; options !hupcl,ixon,!ixoff; }}\n"
    )
    return subprocess.Popen(
        ["conserver", "-C", folder / "conserver.cf", "-P", folder / "conserver.passwd", "-p", str(port),
         "-b", str(port + 1), "-M", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(HANG_S)


@contextmanager
def closed(viewers: Sequence[Raw]) -> Iterator[Sequence[Raw]]:
    with ExitStack() as stack:
        for viewer in viewers:
            stack.enter_context(closing(viewer))
        yield viewers


def note(figures: Figures, key: str, value: float) -> None:
    figures.setdefault(key, []).append(value)


def one_round(ours: Ours, few: Devices, many: Devices, figures: Figures) -> None:
    from tests.embedded import free_port_base

    with ended(ser2net(ours.data, few.names[:1], port := free_port_base())), closed([Raw(port)]) as (viewer,):
        note(figures, "echo1 ser2net", statistics.median(echoes(viewer, KEYS)))
    with ours.serving(few.names[:1], ours.plain):
        of_one_port(ours, few, figures, "")
    with ended(conserver(ours.data, few.names[0], port := free_port_base())):
        with closed([Conserver(port, "bench")]) as one:
            note(figures, "bulk conserver", carried(one, BULK, lambda: few.say(BULK)))
            few.said()
        with closed([Conserver(port, "bench") for _ in range(VIEWERS)]) as all_:
            note(figures, "fan32 conserver", carried(all_, BULK // 4, lambda: few.say(BULK // 4)))
            few.said()
    with ours.serving(few.names[:1], ours.tls):
        of_one_port(ours, few, figures, " (TLS)")
    with (
        ended(ser2net(ours.data, many.names, port := free_port_base())),
        closed([Raw(port + number) for number in range(MANY)]) as raw,
    ):
        note(figures, "echo200 ser2net", statistics.median(echoes_of_many(raw, KEYS_OF_MANY)))
    with ours.serving(many.names, ours.plain), closed(ours.viewers(many.names)) as viewers:
        note(figures, "echo200", statistics.median(echoes_of_many(viewers, KEYS_OF_MANY)))


def of_one_port(ours: Ours, few: Devices, figures: Figures, leg: str) -> None:
    names = few.names[:1]
    with closed(ours.viewers(names)) as one:
        note(figures, "echo1" + leg, statistics.median(echoes(one[0], KEYS)))
        note(figures, "bulk" + leg, carried(one, BULK, lambda: few.say(BULK)))
        few.said()
    if not leg:
        with closed(ours.viewers(names, each=2)) as (healthy, _):
            note(figures, "beside a stalled one", carried([healthy], BULK, lambda: few.say(BULK)))
            few.said()
    with closed(ours.viewers(names, each=VIEWERS)) as all_:
        note(figures, "fan32" + leg, carried(all_, BULK // 4, lambda: few.say(BULK // 4)))
        few.said()


def lost(ours: Ours, few: Devices, restart: Callable[[], None]) -> int:
    """Bytes that are not in the log, or that a viewer was not shown, as they were said: with the link cut every 0.1 s
    and the gateway killed when half of them are through. The device waits while it is not read."""
    from consoles.services import port_update
    from consoles.store import Log
    from core.scope import team_scope

    name, through = few.names[1], str(ours.data / "run" / "cut.sock")
    command = [sys.executable, __file__, "--cutter", through, str(ours.data / "run" / "gateway.sock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as cuts, ended(cuts):
        assert cuts.stdout
        cuts.stdout.readline()
        with ours.serving([name], f"unix:{through}"):
            (port,) = ours.ports([name])
            with team_scope(ours.team.pk):
                port_update(port=port, flow="rtscts")
            with closed(ours.viewers([name])):
                pass
            Path(f"{through}.cuts").touch()
            few.say(LOST, device=1)
            wrong = shown(ours, port, restart)
            few.said()
    folder = ours.data / "consoles" / str(ours.team.pk) / str(port.pk)
    log, place = Log(folder, 1 << 40), 0
    while place < LOST:
        offset, data = log.read(place, 1 << 20)
        if not data:
            break
        wrong += offset - place + differs(data, offset)
        place = offset + len(data)
    return wrong + LOST - place


def shown(ours: Ours, port: Any, restart: Callable[[], None]) -> int:
    """How many bytes the viewer was shown otherwise than they were said; it comes back where it was."""
    place, wrong, killed = 0, 0, False
    while place < LOST:
        try:
            with closing(ours.view(port, place)) as viewer:
                while place < LOST:
                    data = viewer.read()
                    wrong += differs(data, place) + viewer.gaps
                    place = viewer.place
                    if not killed and place > LOST // 2:
                        killed = True
                        threading.Thread(target=restart).start()
        except OSError as error:
            if not killed:
                raise
            print(f"the viewer comes back at {place}: {error}")
            time.sleep(0.1)
    return wrong


def differs(data: bytes, start: int) -> int:
    said = pattern(start, len(data))
    return 0 if data == said else sum(one != other for one, other in zip(data, said, strict=True))


@contextmanager
def terminals(count: int) -> Iterator[Devices]:
    command = [sys.executable, __file__, "--devices", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Devices(process)
        assert process.stdin
        process.stdin.close()


def main() -> None:
    os.environ["PATH"] += ":/usr/sbin"
    if missing := [name for name in ("ser2net", "conserver") if not shutil.which(name)]:
        sys.exit(f"{' and '.join(missing)} is not here: apt install ser2net conserver-server, and stop their services.")
    from bench.agents import started
    from bench.fill import installed

    figures: Figures = {}
    with installed(NETOPS_CONSOLE_KEEP_MB="4096") as data, terminals(2) as few, terminals(MANY) as many:
        ours = Ours(data)
        gateway = [started(data)]

        def restart() -> None:
            gateway[0].kill()
            gateway[0].wait()
            gateway[0] = started(data)

        try:
            for _ in range(ROUNDS):
                one_round(ours, few, many, figures)
            gone = lost(ours, few, restart)
        finally:
            gateway[0].terminate()
            gateway[0].wait(HANG_S)
    told(figures, gone)


def told(figures: Figures, gone: int) -> None:
    units = {"echo1": "ms", "echo2": "ms"}
    table(
        ("what", "unit", "min / median / max"),
        [(what, units.get(what[:5], "MB/s"), spread(values)) for what, values in sorted(figures.items())],
    )
    median = {what: statistics.median(values) for what, values in figures.items()}
    print(f"{LOST / 1e6:.0f} MB through a link cut every 0.1 s and a gateway killed once: {gone} bytes lost")
    finish(
        echo1_vs_ser2net=round(median["echo1"] / median["echo1 ser2net"], 2),
        echo200_vs_ser2net=round(median["echo200"] / median["echo200 ser2net"], 2),
        bulk_vs_conserver=round(median["bulk"] / median["bulk conserver"], 2),
        fan32_vs_conserver=round(median["fan32"] / median["fan32 conserver"], 2),
        stalled_share=round(median["beside a stalled one"] / median["bulk"], 2),
        lost_bytes=gone,
    )


if __name__ == "__main__":
    if "--devices" in sys.argv:
        devices(int(sys.argv[2]))
    elif "--cutter" in sys.argv:
        asyncio.run(cutter(*sys.argv[2:]))
    else:
        main()
