from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pi_agent.fields import FrameError
from pi_agent.outbox import Outbox

LIMIT = 60
WINDOW = 24


class Delivery(RuleBasedStateMachine):
    """An agent, two wires that may be cut at any moment, and a server that dedups by offset."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(LIMIT)
        self.made = 0
        self.lost_with_agent: set[int] = set()
        self.dropped_before = 0
        self.up = False
        self.to_server: deque[tuple[int, bytes]] = deque()
        self.to_agent: deque[int] = deque()
        self.expected = 0
        self.gaps = 0
        self.stored: list[int] = []

    @rule(padding=st.integers(0, 20))
    def a_report_is_made(self, padding: int) -> None:
        self.outbox.append(self.made.to_bytes(4) + bytes(padding))
        self.made += 1

    @precondition(lambda self: not self.up)
    @rule()
    def the_link_comes_up(self) -> None:
        self.outbox.resume(self.expected)
        self.up = True

    @precondition(lambda self: self.up)
    @rule()
    def the_link_is_cut(self) -> None:
        self.up = False
        self.to_server.clear()
        self.to_agent.clear()

    @precondition(lambda self: self.up)
    @rule()
    def the_agent_sends(self) -> None:
        if item := self.outbox.take(WINDOW):
            self.to_server.append(item)

    @precondition(lambda self: self.to_server)
    @rule()
    def the_server_stores(self) -> None:
        offset, report = self.to_server.popleft()
        if offset >= self.expected:
            self.gaps += offset - self.expected
            self.expected = offset + 1
            self.stored.append(int.from_bytes(report[:4]))
        self.to_agent.append(self.expected)

    @precondition(lambda self: self.to_agent)
    @rule()
    def the_agent_hears_an_ack(self) -> None:
        self.outbox.acknowledge(self.to_agent.popleft())

    @precondition(lambda self: not self.up)
    @rule()
    def the_agent_stops_and_starts(self) -> None:
        with tempfile.TemporaryDirectory(prefix="no") as folder:
            self.outbox.save(Path(folder, "state", "reports"))
            self.dropped_before += self.outbox.dropped
            self.outbox = Outbox.load(Path(folder, "state", "reports"), LIMIT)
            assert Outbox.load(Path(folder, "state", "reports"), LIMIT).next == 0, "saved reports are loaded once"

    @precondition(lambda self: not self.up)
    @rule()
    def the_agent_crashes(self) -> None:
        self.lost_with_agent |= set(range(self.made)) - set(self.stored)
        self.dropped_before += self.outbox.dropped
        self.outbox = Outbox(LIMIT)

    @invariant()
    def everything_is_stored_once_and_in_order(self) -> None:
        assert self.stored == sorted(set(self.stored))

    def teardown(self) -> None:
        if not self.up:
            self.the_link_comes_up()
        while self.outbox.first < self.outbox.next or self.to_server or self.to_agent:
            self.the_agent_sends()
            if self.to_server:
                self.the_server_stores()
            if self.to_agent:
                self.the_agent_hears_an_ack()
        missing = set(range(self.made)) - set(self.stored) - self.lost_with_agent
        assert len(missing) <= self.outbox.dropped + self.dropped_before, "only what was counted may be missing"
        assert len(missing) <= self.gaps, "the server sees a gap for everything that was dropped"


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_the_oldest_is_dropped_and_counted() -> None:
    outbox = Outbox(10)
    for number in range(5):
        outbox.append(bytes([number]) * 4)
    outbox.resume(100)
    assert outbox.dropped == 3
    assert outbox.take(WINDOW) == (103, b"\x03\x03\x03\x03")


def test_a_report_over_the_limit_or_the_window_still_goes() -> None:
    outbox = Outbox(10)
    outbox.append(bytes(50))
    outbox.resume(0)
    assert outbox.take(window=1) == (0, bytes(50))


def test_the_window_holds_back() -> None:
    outbox = Outbox(1000)
    for _ in range(3):
        outbox.append(bytes(10))
    outbox.resume(0)
    assert outbox.take(20)
    assert outbox.take(20)
    assert outbox.take(20) is None
    outbox.acknowledge(1)
    assert outbox.take(20) == (2, bytes(10))


def test_an_ack_for_the_future_is_refused() -> None:
    outbox = Outbox(10)
    outbox.append(b"x")
    outbox.resume(7)
    with pytest.raises(FrameError, match="ACK for offset 8, but only 7 were sent"):
        outbox.acknowledge(8)


def test_a_server_that_forgot_or_knows_more_is_followed() -> None:
    outbox = Outbox(100)
    outbox.append(b"a")
    outbox.resume(5)
    outbox.resume(0)
    assert outbox.take(WINDOW) == (5, b"a")
    outbox.resume(9)
    assert outbox.take(WINDOW) == (9, b"a")


@pytest.mark.parametrize("data", [b"", b"\x01" * 8, b"\x01" + bytes(8) + b"\0\0\0"])
def test_a_broken_spool_is_said_and_ignored(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "reports").write_bytes(data)
    assert Outbox.load(tmp_path / "reports", LIMIT).next == 0
    assert "are lost" in caplog.text
    assert not (tmp_path / "reports").exists()


def test_a_spool_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    Outbox(LIMIT).save(tmp_path / "state" / "reports")
    assert "cannot write" in caplog.text


def test_what_the_server_has_is_not_sent_again() -> None:
    outbox = Outbox(100)
    for report in (b"a", b"b", b"c"):
        outbox.append(report)
    outbox.resume(0)
    while outbox.take(WINDOW):
        pass
    outbox.resume(2)
    assert outbox.take(WINDOW) == (2, b"c")
    assert outbox.take(WINDOW) is None
