"""One run of the listener against peers and ExaBGPs that misbehave, and the pieces it is made of."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError

from core.scope import team_scope
from inventory.bgpls import exabgp, inbox, listener
from inventory.bgpls.inbox import Source
from inventory.bgpls.listener import Lost, Run
from inventory.models import TopologySource, TopologyUpdate
from tenancy.models import Team
from tests.inventory import lines
from tests.inventory.conftest import HANG

FAKE = """
import json, socket, sys, time
config, script = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.connect(config.removesuffix("conf") + "sock")
for step in json.load(open(script)):
    if isinstance(step, str):
        listener.sendall(step.encode("latin-1"))
    else:
        time.sleep(step)
"""
HELPER = Path(exabgp.__file__).with_name("helper.py")


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A peer that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def source(transactional_db: None, team: Team, peer: socket.socket) -> Source:
    Path(settings.DATA, "run").mkdir(mode=0o700, exist_ok=True)
    with team_scope(team.pk):
        TopologySource.objects.create(name="lab", host="127.0.0.1", port=peer.getsockname()[1])
    (found,) = inbox.enabled_sources()
    return found


class Script:
    """What the stand-in for ExaBGP will do: say text, wait seconds, then end."""

    def __init__(self, folder: Path) -> None:
        self.fake, self.file = folder / "fake.py", folder / "script.json"
        self.fake.write_text(FAKE)

    def __call__(self, *steps: str | float) -> None:
        self.file.write_text(json.dumps(steps))

    def command(self, config: Path) -> list[str]:
        return [sys.executable, str(self.fake), str(config), str(self.file)]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script(tmp_path)
    monkeypatch.setattr(exabgp, "command", found.command)
    return found


def serve(source: Source, *, probe_first: bool = False) -> tuple[Run, str]:
    """One run to its end; the sentence it ended with."""

    async def one() -> tuple[Run, str]:
        run = Run(source)
        with pytest.raises(Lost) as lost:
            await asyncio.wait_for(run.serve(probe_first=probe_first), HANG)
        return run, str(lost.value)

    return asyncio.run(one())


def stored(source: Source) -> list[str]:
    with team_scope(source.team_id):
        return list(TopologyUpdate.objects.order_by("id").values_list("line", flat=True))


def said(line: str) -> str:
    return f"{line}\n"


def test_a_peer_that_does_not_talk(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ExaBGP."""
    monkeypatch.setattr(listener, "UP_LIMIT_S", 2)
    _, sentence = serve(source)
    assert sentence == (
        f"127.0.0.1 port {source.port} accepts connections but not our BGP session: make us a neighbour of the peer."
    )
    assert list(Path(settings.DATA, "run").glob("bgpls-*")) == []


def test_a_peer_that_hangs_up(source: Source, peer: socket.socket) -> None:
    """The real ExaBGP meets a port where something else lives."""

    def hang_up() -> None:
        while True:
            try:
                connection, _ = peer.accept()
            except OSError:
                return
            connection.close()

    threading.Thread(target=hang_up, daemon=True).start()
    _, sentence = serve(source)
    peer.shutdown(socket.SHUT_RDWR)
    assert "accepts connections but not our BGP session" in sentence


def test_nobody_at_the_port(source: Source, peer: socket.socket) -> None:
    peer.close()
    for probe_first in (False, True):
        _, sentence = serve(source, probe_first=probe_first)
        assert sentence == (
            f"127.0.0.1 port {source.port} refuses connections: start the BGP speaker there or correct the port."
        )


def test_a_host_that_may_not_be_reached(source: Source) -> None:
    _, sentence = serve(replace(source, host="10.0.0.1"))
    assert "10.0.0.1" in sentence
    assert "NETOPS_OUTBOUND_ALLOW" in sentence


def test_an_exabgp_that_does_not_start(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exabgp, "command", lambda _: ["/bin/sh", "-c", "echo advice; echo it broke; exit 3"])
    assert serve(source)[1] == "ExaBGP ended with 3: it broke."


def test_lines_are_stored_in_order_under_their_run(source: Source, script: Script) -> None:
    told = [lines.announce(lines.node(number)) for number in range(1, 1200)]
    script(said(lines.up()), *map(said, told), said(lines.down("the end")))
    run, sentence = serve(source)
    assert run.was_up
    assert sentence == "The session with 127.0.0.1 was lost: the end."
    found = stored(source)
    assert found[1:-1] == told
    with team_scope(source.team_id):
        assert set(TopologyUpdate.objects.values_list("run", flat=True)) == {1}
        row = TopologySource.objects.get()
        assert row.run == 1
        assert row.heard


def test_what_came_before_a_crash_is_stored(source: Source, script: Script) -> None:
    script(said(lines.up()), said(lines.announce(lines.node(1))), lines.announce(lines.node(2))[:50])
    serve(source)
    assert len(stored(source)) >= 2


def test_noise_is_not_stored(source: Source, script: Script) -> None:
    keepalive = lines.line("keepalive", '"direction": "receive"')
    refused = lines.down("notification received (2,2)")
    script("{\n", "\xff\xfe\n", "\n", said(keepalive), said(lines.line("state", '"state": "connected"')), said(refused))
    _, sentence = serve(source)
    assert sentence.startswith("127.0.0.1 refused the session (notification received (2,2)): check the local and")
    assert stored(source) == []


def test_nul_and_broken_utf8_can_be_stored(source: Source, script: Script) -> None:
    line = lines.announce(lines.node(1, "x")).replace('"x"', '"\0\xff"')
    script(said(lines.up()), said(line), said(lines.down()))
    serve(source)
    assert '"\ufffd"' in stored(source)[1]


def test_a_line_without_end_ends_the_run(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_LINE", 10_000)
    script(said(lines.up()), "x" * 100_000, HANG)
    assert "over 10000 bytes" in serve(source)[1]


def test_a_run_that_was_taken_over_stops(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another listener begins a run: ours has no say any more."""
    monkeypatch.setattr(listener, "LAST_BACKOFF_S", 0)
    begin = inbox.run_begin

    def overtaken(source: Source) -> int | None:
        run = begin(source)
        begin(source)
        return run

    monkeypatch.setattr(inbox, "run_begin", overtaken)
    script(said(lines.up()), HANG)
    assert serve(source)[1] == "Another listener has taken this source over: run one listener only."


def test_a_deleted_source_ends_its_run(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = inbox.run_begin

    def deleted(source: Source) -> int | None:
        run = begin(source)
        with team_scope(source.team_id):
            TopologySource.objects.all().delete()
        return run

    monkeypatch.setattr(inbox, "run_begin", deleted)
    script(said(lines.up()), HANG)
    assert serve(source)[1] == "The source was deleted."
    assert serve(source)[1] == "The source was deleted."  # now before ExaBGP is started


def test_exabgp_sees_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETOPS_SECRET_KEY", "hush")
    assert "hush" not in exabgp.environment().values()
    peer = exabgp.Peer("192.0.2.7", 1790, 65001, 65002, "192.0.2.2", 30)
    text = exabgp.config(peer, Path("/run/x.sock"))
    for line in ("neighbor 192.0.2.7 {", "connect 1790;", "local-as 65001;", "peer-as 65002;", "hold-time 30;"):
        assert line in text


# The helper


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(HANG)
        command = [sys.executable, "-I", "-S", str(HELPER), str(tmp_path / "s")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ours, _ = server.accept()
        ours.settimeout(HANG)
        with ours, process:
            yield process, ours
            process.kill()


def test_the_helper_pipes_both_ways(helper: tuple[subprocess.Popen[bytes], socket.socket]) -> None:
    process, ours = helper
    assert process.stdin
    assert process.stdout
    big = os.urandom(1 << 20)
    process.stdin.write(big[:1000])
    process.stdin.flush()
    ours.sendall(b"announce route\n")
    assert process.stdout.readline() == b"announce route\n"
    got = b""
    while len(got) < 1000:
        got += ours.recv(65536)
    assert got == big[:1000]


@pytest.mark.parametrize("side", ["exabgp", "listener"])
def test_the_helper_ends_with_either_side(side: str, helper: tuple[subprocess.Popen[bytes], socket.socket]) -> None:
    process, ours = helper
    assert process.stdin
    if side == "exabgp":
        process.stdin.close()
    else:
        ours.shutdown(socket.SHUT_RDWR)
    assert process.wait(HANG) == 0


def test_the_helper_without_a_listener_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(HELPER), str(tmp_path / "none")]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=HANG, check=False).returncode == 1


def test_a_database_that_is_away_loses_nothing(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """More lines than the backlog takes wait in order while the database is away."""
    monkeypatch.setattr(listener, "BACKLOG", 50)
    store, failed = inbox.lines_store, list[int]()

    def flaky(source: Source, run: int, batch: list[str]) -> None:
        if len(failed) < 2:
            failed.append(run)
            raise OperationalError("away")
        store(source, run, batch)

    monkeypatch.setattr(inbox, "lines_store", flaky)
    told = [lines.announce(lines.node(number)) for number in range(1, 400)]
    script(said(lines.up()), *map(said, told), said(lines.down()))
    serve(source)
    assert stored(source)[1:-1] == told
    assert len(failed) == 2
