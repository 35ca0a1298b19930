"""The password of a source (RFC 2385): to ExaBGP and nowhere else."""

import asyncio
import contextlib
import logging
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.scope import team_scope
from inventory.bgpls import exabgp, inbox
from inventory.bgpls.inbox import Source
from inventory.bgpls.listener import Run
from inventory.models import TopologySource
from inventory.services import source_create, source_update
from tenancy.models import Team
from tests.inventory.test_listener import Script

TCP_MD5SIG = 14
HANG = 20.0
PASSWORD = "pa ss\"wo'rd\\;{}[]#$ 42"
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=80)


def signing(end: socket.socket, password: str, peer: str = "127.0.0.1") -> None:
    """TCP MD5 for segments from `peer`, as tcp(7) has it: struct tcp_md5sig."""
    address = struct.pack("HH4s120x", socket.AF_INET, 0, socket.inet_aton(peer))
    end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("2xH4x80s", len(password), password.encode()))


def peer_of(password: str) -> exabgp.Peer:
    return exabgp.Peer("192.0.2.1", 179, 65000, 65001, "192.0.2.9", 90, password)


@pytest.mark.parametrize("password", [PASSWORD, "deadbeef", "a" * 80, "x", " lead", '"', "  two  spaces  "])
def test_exabgp_accepts_the_configuration(password: str, tmp_path: Path) -> None:
    file = tmp_path / "exabgp.conf"
    file.write_text(exabgp.config(peer_of(password), tmp_path / "socket"))
    command = [*exabgp.command(file)[:-2], "validate", "-n", str(file)]
    checked = subprocess.run(command, capture_output=True, env=exabgp.environment(), timeout=HANG, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@hypothesis_settings(deadline=None)
@given(printable)
def test_no_password_breaks_out_of_its_line(password: str) -> None:
    written, plain = (exabgp.config(peer_of(each), Path("/s")) for each in (password, ""))
    extra = [line.strip() for line in written.splitlines() if line not in plain.splitlines()]
    assert extra == [f'md5-password "{exabgp.coded(password)}";', "md5-base64 true;"]


@pytest.mark.parametrize("password", ["ü", "a" * 81, "a\nb", "tab\t", "nul\0"])
def test_a_password_that_no_router_takes_is_refused(password: str, scope: Team) -> None:
    with pytest.raises(ValidationError, match="80 printable ASCII") as raised:
        source_create(name="r", host="127.0.0.1", password=password)
    assert set(raised.value.message_dict) == {"password"}
    assert password not in str(raised.value)


def test_only_its_owner_reads_the_file(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def command(config: Path) -> list[str]:
        seen.append((stat.S_IMODE(config.stat().st_mode), config.read_text()))
        return script.command(config)

    monkeypatch.setattr(exabgp, "command", command)
    script()
    run_to_its_end(source)
    ((mode, written),) = seen
    assert mode == 0o600
    assert exabgp.coded(PASSWORD) in written
    assert not list(Path(settings.DATA, "run").glob("bgpls-*.conf"))


def run_to_its_end(source: Source) -> str:
    async def one() -> str:
        try:
            await asyncio.wait_for(Run(source).serve(probe_first=True), HANG)
        except Exception as error:
            return str(error)
        return ""

    return asyncio.run(one())


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        signing(server, PASSWORD)
        yield server


@pytest.fixture
def source(transactional_db: None, team: Team, listening: socket.socket) -> Source:
    Path(settings.DATA, "run").mkdir(mode=0o700, exist_ok=True)
    with team_scope(team.pk):
        source_create(name="lab", host="127.0.0.1", port=listening.getsockname()[1], password=PASSWORD)
    (found,) = inbox.enabled_sources()
    return found


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    found = Script(tmp_path)
    monkeypatch.setattr(exabgp, "command", found.command)
    return found


def test_a_session_with_a_password_is_opened(source: Source, listening: socket.socket) -> None:
    """The real ExaBGP against a peer whose kernel drops every segment that is not signed."""
    with socket.socket() as stranger:
        stranger.settimeout(0.5)
        with pytest.raises(TimeoutError):
            stranger.connect(listening.getsockname())
    listening.settimeout(HANG)

    async def first_words() -> bytes:
        run = asyncio.create_task(Run(source).serve(probe_first=True))
        try:
            return await asyncio.to_thread(_accept, listening)
        finally:
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await run

    assert asyncio.run(first_words()) == b"\xff" * 16


def _accept(listening: socket.socket) -> bytes:
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(HANG)
        return connection.recv(16, socket.MSG_WAITALL)


def test_it_is_in_no_text_of_ours(
    source: Source, script: Script, caplog: pytest.LogCaptureFixture, alice_client: Client
) -> None:
    caplog.set_level(logging.DEBUG)
    script(f"md5-password {exabgp.coded(PASSWORD)} is wrong\n")
    ended = run_to_its_end(source)
    answers = [alice_client.get(f"/api/inventory/sources/{end}").content.decode() for end in ("", f"{source.id}/")]
    for text in (repr(source), str(source), repr(peer_of(PASSWORD)), ended, caplog.text, *answers):
        assert PASSWORD not in text
        assert exabgp.coded(PASSWORD) not in text
    assert '"name":"lab"' in answers[0]


def test_a_new_password_makes_a_new_run(source: Source) -> None:
    with team_scope(source.team_id):
        source_update(source=TopologySource.objects.get(), password="another")
    assert inbox.enabled_sources() != {source}
    with team_scope(source.team_id):
        source_update(source=TopologySource.objects.get(), password="")
    (without,) = inbox.enabled_sources()
    assert without.password == ""
    assert "md5" not in exabgp.config(peer_of(without.password), Path("/s"))


def test_a_source_that_cannot_be_read_stops_no_other_team(
    source: Source, other_team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    from django.db import connection

    with team_scope(other_team.pk):
        TopologySource.objects.create(name="theirs", host="127.0.0.1")
    with team_scope(source.team_id), connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_topologysource SET password = 'gAAAAAbroken'")
    assert [each.name for each in inbox.enabled_sources()] == ["theirs"]
    assert "are not listened to" in caplog.text
    assert "gAAAAAbroken" not in caplog.text
