"""The log of a port as pages and files: what was said, when, and what is missing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from consoles.history import History
from consoles.models import ConsolePort
from tenancy.models import Team
from tests.consoles.logs import T0, Say, port, say, store

__all__ = ["port", "say", "store"]

pytestmark = pytest.mark.django_db


def url(name: str, port: ConsolePort, *more: str) -> str:
    return reverse(name, args=["red", port.pk, *more])


def body(client: Client, address: str) -> bytes:
    answer: Any = client.get(address)
    assert answer.status_code == 200, answer
    assert "attachment" in answer["Content-Disposition"]
    return b"".join(answer.streaming_content)


def test_files_to_keep(port: ConsolePort, say: Say, bob_client: Client) -> None:
    say(b"\x1b[32mboot\x1b[0m\r\nlog", 0)
    behind = say(b"in: \xe2\x82", 60.5, missing=7)
    say(b"\xac\r\n\x1b]0;x\x07ok\r\n", 61)
    assert body(bob_client, url("console-saved", port, "raw")).startswith(b"\x1b[32mboot\x1b[0m\r\nlogin: ")
    text = body(bob_client, url("console-saved", port, "text")).decode()
    assert text == "boot\nlog\n[7 bytes are missing here]\nin: \u20ac\nok\n"
    head, *events = map(json.loads, body(bob_client, url("console-saved", port, "cast")).decode().splitlines())
    assert head == {
        "version": 3, "term": {"cols": 80, "rows": 24}, "timestamp": T0 // 10**6, "title": "R1 console",
        "idle_time_limit": 2,
    }  # fmt: skip
    assert events == [
        [0.0, "o", "\x1b[32mboot\x1b[0m\r\nlog"],
        [0, "m", "7 bytes are missing here"],
        [60.5, "o", "in: "],
        [0.5, "o", "\u20ac\r\n\x1b]0;x\x07ok\r\n"],
    ]
    part = f"{url('console-saved', port, 'text')}?from={behind + 1}&to={behind + 3}"
    assert body(bob_client, part) == b"n:\n"
    assert bob_client.get(url("console-saved", port, "exe")).status_code == 404


def test_the_replay_fetches_pieces_by_offset_and_by_time(port: ConsolePort, say: Say, bob_client: Client) -> None:
    say(b"x" * 100_000, 0)
    second = say(b"then\r\n", 3600)
    third = say(b"last", 7200, missing=5)

    def piece(**query: Any) -> dict[str, Any]:
        answer: dict[str, Any] = bob_client.get(url("console-log-data", port), query).json()
        return answer | {"data": base64.b64decode(answer["data"])}

    assert piece(offset=0) == {
        "place": 0, "offset": 0, "first": 0, "end": third + 4, "data": b"x" * 100_000 + b"then\r\n",
        "times": [[0, T0 // 1000], [second, T0 // 1000 + 3_600_000]],
    }  # fmt: skip
    later = piece(time=T0 // 1000 + 1)
    assert (later["place"], later["data"]) == (second, b"then\r\n")
    seen = piece(time=T0 // 1000 + 1, context=1)
    assert (seen["place"], seen["offset"]) == (second, second - (48 << 10))
    assert seen["data"].endswith(b"xthen\r\n")
    assert piece(offset=second + 6)["offset"] == third
    for odd in ("-1", "x", "9" * 99, "", "\u0663"):
        assert piece(offset=odd)["data"] == b""
    assert piece(offset=10**15)["place"] == third + 4


def test_the_page_tells_activity_and_what_is_missing(port: ConsolePort, say: Say, bob_client: Client) -> None:
    say(b"one\r\n", 0)
    gap = say(b"two\r\n", 3600, missing=1)
    say(b"<script>three\r\n" * 100, 7200)
    page = bob_client.get(url("console-log", port)).content.decode()
    assert page.count("<rect") == 3
    assert "something is missing here" in page
    assert f"?offset={gap - 1}" in page
    assert "<script>three" not in page
    whole, hour = (
        bob_client.get(url("console-log-line", port), {"span": span, "offset": 0}).content.decode()
        for span in ("all", "hour")
    )
    assert (whole.count("<rect"), hour.count("<rect")) == (3, 2)
    assert f'data-since="{T0 // 1000}" data-until="{T0 // 1000 + 3_600_000}"' in hour
    assert bob_client.get(url("console-log-line", port), {"span": "x' or 1"}).status_code == 200


def test_activity_counts_bytes_and_no_gaps(port: ConsolePort, say: Say, team: Team) -> None:
    say(b"x" * 10, 0)
    say(b"x" * 20, 50, missing=1000)
    say(b"x" * 5, 99)
    assert History(team.pk, port.pk).activity(T0, T0 + 100_000_000, 4) == [10, 0, 20, 5]


def test_nothing_yet(port: ConsolePort, bob_client: Client) -> None:
    assert "Nothing logged yet" in bob_client.get(url("console-log", port)).content.decode()
    assert bob_client.get(url("console-log-data", port)).json()["data"] == ""
    for shape in ("raw", "text"):
        assert body(bob_client, url("console-saved", port, shape)) == b""
    assert body(bob_client, url("console-saved", port, "cast")).count(b"\n") == 1


def test_others_get_nothing(port: ConsolePort, say: Say, charlie_client: Client) -> None:
    say(b"secret\r\n", 0)
    for name, *more in (("console-log",), ("console-log-line",), ("console-log-data",), ("console-saved", "raw")):
        for address in (url(name, port, *more), url(name, port, *more).replace("/red/", "/blue/")):
            assert charlie_client.get(address).status_code == 404
            assert Client().get(address).status_code == 302
