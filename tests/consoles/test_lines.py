"""Lines in the database: taken once, in time, searched over all ports, gone with their bytes; and forwarded."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consoles import forward, retention
from consoles import store as stored
from consoles.history import folder_of, when
from consoles.lines import Taker, lines_find, lines_look
from consoles.log_models import ConsoleCursor, ConsoleLine, ConsoleLogSettings
from consoles.log_services import log_settings_get, log_settings_update
from consoles.models import ConsolePort
from consoles.plain import Lines, plain
from core.scope import team_scope
from inventory.models import Device, sorted_name
from tenancy.models import Team
from tests.consoles.logs import T0, Say, Written, port, port_of, say, store

__all__ = ["port", "say", "store"]
pytestmark = pytest.mark.django_db
PIECES = st.lists(
    st.tuples(st.sampled_from([b"a\n", b"b\r\n", b"c", b"\n", b"x" * 90]), st.integers(0, 2), st.booleans()),
    max_size=25,
)


def take(team: Team, *ports: ConsolePort) -> int:
    with team_scope(team.pk):
        lines_look()
    return sum(Taker().run(team.pk, each.pk) for each in ports)


def texts(team: Team, **wanted: Any) -> list[str]:
    asked = {"text": "", "ports": None, "since": None, "until": None, "before": None} | wanted
    with team_scope(team.pk):
        return [line.text for line in lines_find(**asked)]


def test_lines_are_taken_once_with_their_time_when_they_end(port: ConsolePort, say: Say, team: Team) -> None:
    say(b"\x1b[1mboot\x1b[m\r\n\r\nfw-1 log", 0)
    take(team, port)
    assert texts(team) == ["boot"]
    with team_scope(team.pk):
        assert lines_look() == 0, "an unfinished line is not looked at again until more comes"
    start = say(b"in: ", 60)
    say(b"admin\r\n", 90)
    take(team, port)
    take(team, port)
    assert texts(team) == ["fw-1 login: admin", "boot"]
    with team_scope(team.pk):
        line = ConsoleLine.objects.get(offset=start - len("fw-1 log"))
        assert line.at == when(T0) + timedelta(seconds=90)
        assert ConsoleCursor.objects.get().taken == start + 11


@hypothesis_settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES, st.integers(120, 600))
def test_however_it_is_interrupted_nothing_is_there_twice_and_nothing_is_left_out(
    team: Team, store: Path, pieces: list[tuple[bytes, int, bool]], batch: int
) -> None:
    """A port of its own for each example; whether it is taken after each piece is drawn too."""
    with team_scope(team.pk):
        port = port_of(team, f"P{ConsolePort.objects.count()}")
    with patch("consoles.lines.BATCH", batch), patch("consoles.plain.LINE", 100):
        written, lines = Written(port), Lines(0)
        want: list[tuple[int, str]] = []
        for more, missing, taken in pieces:
            at = written.say(more, 0, missing)
            want += [(offset, text) for offset, line in lines.feed(at, more) if (text := plain(line))]
            if taken:
                take(team, port)
        take(team, port)
    with team_scope(team.pk):
        rows = ConsoleLine.objects.filter(port=port).order_by("offset")
        assert list(rows.values_list("offset", "text")) == want
    written.log.close()


def test_search_is_by_text_port_and_time(team: Team, other_team: Team, port: ConsolePort, say: Say) -> None:
    other, foreign = port_of(team, "R2"), port_of(other_team, "X")
    say(b"eth0: Link is DOWN\r\n100% done\r\n", 0)
    for each, line in ((other, b"eth1: link is up\r\nc:\\x a_b\r\n"), (foreign, b"eth9: link is secret\r\n")):
        Written(each).say(line, 10)
    take(team, port, other)
    take(other_team, foreign)
    assert texts(team, text="LINK is") == ["eth1: link is up", "eth0: Link is DOWN"]
    assert texts(team, text="link is", ports=[port.pk]) == ["eth0: Link is DOWN"]
    assert texts(team, text="link is", ports=[foreign.pk]) == texts(team, ports=[]) == []
    assert texts(team, text="link", since=when(T0 + 5_000_000)) == ["eth1: link is up"]
    assert texts(team, text="link", until=when(T0 + 5_000_000)) == ["eth0: Link is DOWN"]
    assert texts(team, text="100%") == ["100% done"]
    assert texts(team, text="%") == ["100% done"]
    assert texts(team, text="a_b") == texts(team, text="c:\\x") == ["c:\\x a_b"]
    assert texts(team, text="axb") == texts(team, text="secret") == []
    assert texts(team, most=2) == texts(team)[:2]
    with team_scope(team.pk):
        newest = ConsoleLine.objects.order_by("-at", "-pk")[1]
    assert texts(team, before=newest.pk) == texts(team)[2:]


def test_the_page(team: Team, port: ConsolePort, say: Say, bob_client: Client, charlie_client: Client) -> None:
    with team_scope(team.pk):
        device = Device.objects.create(**sorted_name("fw-1"), router_id="10.0.0.1", changed=when(T0))
        ConsolePort.objects.update(device=device)
    at = say(b"first\r\n", 0)
    at = say(b"<b>\x1b]0;x\x07kernel panic</b>\r\n", 3600)
    take(team, port)
    url = "/t/red/consoles/search/"
    html = bob_client.get(url, {"q": "Kernel Panic"}).content.decode()
    assert "&lt;b&gt;<mark>kernel panic</mark>&lt;/b&gt;" in html
    assert f"/t/red/consoles/{port.pk}/log/?offset={at}" in html
    assert "fw-1" in html
    assert "first" not in html
    for query, sentence in (
        ({"q": "ab"}, "Give at least 3 characters"), ({"since": "yesterday"}, "Give a time as"),
        ({"q": "nothing"}, "No line matches"), ({"port": "x", "device": "9" * 30, "before": "-1"}, "kernel"),
        ({"device": "0"}, "No line matches"), ({"q": "\0panic"}, "<mark>panic"), ({"device": device.pk}, "kernel"),
    ):  # fmt: skip
        assert sentence in bob_client.get(url, query).content.decode(), query
    assert charlie_client.get(url).status_code == 404
    assert "kernel" not in charlie_client.get("/t/blue/consoles/search/", {"port": port.pk}).content.decode()


def test_pages_of_what_was_found(team: Team, port: ConsolePort, say: Say, bob_client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("consoles.search_views.MOST", 3)
    for number in range(8):
        say(b"line %d\r\n" % number, 0)  # all at once: told apart by their order
    take(team, port)
    url, seen = "/t/red/consoles/search/?q=line", []
    while url:
        html = bob_client.get(url).content.decode()
        seen += [number for number in range(8) if f"</mark> {number}" in html][::-1]
        url = html.rpartition('href="?')[2].partition('"')[0].replace("&amp;", "&") if 'rel="next"' in html else ""
        url = f"/t/red/consoles/search/?{url}" if url else ""
        assert len(seen) <= 8
    assert seen[:3] == [7, 6, 5]


# Retention


def test_old_segments_go_and_their_lines_with_them(team: Team, port: ConsolePort, say: Say, settings: Any) -> None:
    settings.CONSOLE_KEEP_DAYS = 30
    say(b"old\r\n", 0)
    middle = Written(port, epoch=2)
    middle.say(b"young\r\n", 1)
    take(team, port)
    folder = folder_of(team.pk, port.pk)
    old, young = stored.segments(folder)
    assert retention.drop_old() == 0
    for name in (old.name, old.times):
        os.utime(folder / name, (0, 0))
    assert retention.drop_old() == 1
    assert sorted(os.listdir(folder)) == sorted([young.name, young.times])
    middle.say(b"younger\r\n", 2)
    take(team, port)
    assert texts(team) == ["younger", "young"]
    os.utime(folder / young.name, (0, 0))
    assert retention.drop_old() == 0, "its end says which byte comes next"
    assert stored.newest_end(folder) == young.end + len("younger\r\n")


def test_the_folder_of_a_port_that_is_gone_goes_after_the_same_time(
    team: Team, port: ConsolePort, say: Say, store: Path
) -> None:
    say(b"it was here\r\n", 0)
    folder = folder_of(team.pk, port.pk)
    (store / "lost+found").mkdir()
    (store / str(team.pk) / "notes").mkdir()
    with team_scope(team.pk):
        port.delete()
        assert not ConsoleLine.objects.exists()
    assert retention.drop_old() == 0
    for each in [*folder.iterdir(), folder]:
        os.utime(each, (0, 0))
    assert retention.drop_old() == 1
    assert not folder.exists()
    assert {each.name for each in store.iterdir()} == {str(team.pk), "lost+found"}


# Syslog


class Listener:
    """A real one, of either kind."""

    def __init__(self, protocol: str) -> None:
        self.kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        self.socket = socket.socket(socket.AF_INET, self.kind)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.got: list[bytes] = []
        if protocol == "tcp":
            self.socket.listen()
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                data = stream.read()
                while data:
                    count, _, data = data.partition(b" ")
                    self.got.append(data[: int(count)])
                    data = data[int(count) :]

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # accept() would go on
        self.socket.close()

    def messages(self, count: int) -> list[bytes]:
        self.socket.settimeout(30)
        while self.kind == socket.SOCK_DGRAM and len(self.got) < count:
            self.got.append(self.socket.recv(65536))
        return self.got


@pytest.fixture(params=["tcp", "udp"])
def listener(request: pytest.FixtureRequest, settings: Any) -> Iterator[Listener]:
    made = Listener(request.param)
    settings.OUTBOUND_ALLOW = [f"127.0.0.1:{made.port}"]
    yield made
    made.close()


def forward_to(team: Team, listener: Listener) -> ConsoleLogSettings:
    protocol = "tcp" if listener.kind == socket.SOCK_STREAM else "udp"
    with team_scope(team.pk):
        return log_settings_update(
            settings=log_settings_get(), syslog_host="127.0.0.1", syslog_port=listener.port, syslog_protocol=protocol
        )


def test_each_line_goes_to_the_teams_syslog_once(
    team: Team, port: ConsolePort, say: Say, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "BATCH", 2)
    say(b"before anybody asked\r\n", 0)
    take(team, port)
    wanted_settings = forward_to(team, listener)
    with team_scope(team.pk):
        ConsolePort.objects.update(device=Device.objects.create(**sorted_name("fw 1"), router_id="10.0.0.1",
                                                                changed=when(T0)))  # fmt: skip
    say(b"one\r\n\r\n\x1b[31mtw\xc3\xb6\r\nthree\r\n" + b"x" * 9000 + b"\r\n", 1.5)
    take(team, port)
    assert forward.drain.run(team.pk, wanted_settings.pk) > 1
    got = listener.messages(4)
    head = f"<134>1 2026-09-21T14:13:21.500000Z fw-1 console {port.pk} - - \ufeff"
    assert when(T0).isoformat() == "2026-09-21T14:13:20+00:00"
    assert [each.decode() for each in got[:3]] == [f"{head}{text}" for text in ("one", "twö", "three")]
    assert len(got[3]) == forward.LONGEST["tcp" if listener.kind == socket.SOCK_STREAM else "udp"]
    assert forward.drain.run(team.pk, wanted_settings.pk) == 0
    assert len(listener.got) == 4


def test_what_it_did_not_take_comes_again(team: Team, port: ConsolePort, say: Say, settings: Any) -> None:
    again = Listener("tcp")
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with team_scope(team.pk):
            wanted_settings = log_settings_update(
                settings=log_settings_get(),
                syslog_host="127.0.0.1",
                syslog_port=nobody.getsockname()[1],
                syslog_protocol="tcp",
            )
        _not_taken(team, port, say, wanted_settings)
    with team_scope(team.pk):
        ConsoleLogSettings.objects.update(again=None, syslog_port=again.port)
    assert forward.drain.run(team.pk, wanted_settings.pk) == 1
    assert [each.rpartition(b" ")[2] for each in again.messages(1)] == ["\ufeffone".encode()]
    with team_scope(team.pk):
        assert log_settings_get().trouble == ""
    again.close()


def _not_taken(team: Team, port: ConsolePort, say: Say, wanted_settings: ConsoleLogSettings) -> None:
    say(b"one\r\n", 0)
    take(team, port)
    forward.drain.run(team.pk, wanted_settings.pk)
    with team_scope(team.pk):
        assert "did not take the lines" in log_settings_get().trouble
        assert ConsoleCursor.objects.get().sent == 0
    assert forward.drain.run(team.pk, wanted_settings.pk) == 0, "not at once"


def test_the_target_passes_the_outbound_gate_when_it_is_set_and_when_it_is_used(
    team: Team, port: ConsolePort, say: Say, settings: Any, alice_client: Client, bob_client: Client,
    charlie_client: Client,
) -> None:  # fmt: skip
    settings.OUTBOUND_ALLOW = []
    url = "/t/red/consoles/settings/"
    wanted = {"syslog_host": "127.0.0.1", "syslog_port": "514", "syslog_protocol": "udp", "record_typed": "0"}
    assert "a private address" in alice_client.post(url, wanted).content.decode()
    with team_scope(team.pk):
        assert not ConsoleLogSettings.objects.exists()
    for client, status in ((bob_client, 403), (charlie_client, 404)):
        assert client.get(url).status_code == client.post(url, wanted).status_code == status
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    assert alice_client.post(url, wanted).status_code == 302
    settings.OUTBOUND_ALLOW = []
    say(b"one\r\n", 0)
    take(team, port)
    with team_scope(team.pk):
        wanted_settings = log_settings_get()
    forward.drain.run(team.pk, wanted_settings.pk)
    assert "a private address" in alice_client.get(url).content.decode()
    assert alice_client.post(url, {**wanted, "syslog_host": ""}).status_code == 302
    with team_scope(team.pk), pytest.raises(ValidationError, match="syslog_port"):
        log_settings_update(settings=log_settings_get(), syslog_port=0)
