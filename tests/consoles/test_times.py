"""When bytes came, found again from the files beside the log, whatever happened to it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consoles import store
from consoles.store import Log, segments
from consoles.times import RECORD, STEP_US, Times

CHUNKS = st.tuples(
    st.just("say"), st.integers(1, 300), st.sampled_from([0, 0, 1, 7]), st.integers(0, 3 * STEP_US)
)  # how many, how many are missing before them, how long after the last ones
STEPS = st.lists(st.one_of(CHUNKS, CHUNKS, st.tuples(st.sampled_from(["owner", "torn", "late"]))), max_size=40)


class Told:
    """A log that is written, and when each of its bytes came."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.epoch = folder, 1_700_000_000_000_000, 0
        self.came: dict[int, int] = {}
        self.owner()

    def say(self, count: int, gap: int, later: int) -> None:
        self.now += later
        start = self.log.end + gap
        with patch.object(time, "time_ns", lambda: self.now * 1000):
            self.log.append(start, bytes(count))
        self.came |= dict.fromkeys(range(start, start + count), self.now)

    def owner(self) -> None:
        self.epoch += 1
        self.log = Log(self.folder, 1 << 30)
        self.log.own(self.epoch)

    def torn(self) -> None:
        """Killed in the middle of a record."""
        self._into_the_newest(b"", b"torn")
        self.owner()

    def late(self) -> None:
        """The owner before writes on."""
        self.owner()
        self._into_the_newest(b"late", RECORD.pack(self.log.end, self.now))

    def _into_the_newest(self, data: bytes, beside: bytes) -> None:
        for segment in segments(self.folder)[-1:]:
            for name, more in ((segment.name, data), (segment.times, beside)):
                with open(self.folder / name, "ab") as file:
                    file.write(more)
            self.say(3, 0, 0)


@settings(deadline=None, max_examples=60)
@given(STEPS, st.integers(200, 2000))
def test_each_byte_has_its_time(steps: list[tuple[str, int, int, int]], size: int) -> None:
    """At most a step too early, never too late; found by time too."""
    with tempfile.TemporaryDirectory() as name, patch.object(store, "SEGMENT", size):
        told = Told(Path(name))
        for kind, *values in steps:
            getattr(told, kind)(*values)
        times, came = Times(told.folder, segments(told.folder)), told.came
        for at in [*came][::7]:
            assert came[at] - STEP_US < times.of(at) <= came[at], at
        for when in {*came.values(), told.now + 1, 0}:
            found = times.offset(when)
            assert all(came[at] >= when for at in came if at >= found)
            assert all(came[at] < when + STEP_US for at in came if at < found)
        if came:
            assert (times.first, times.last) == (came[min(came)], times.of(max(came)))
            middle = sorted(came)[len(came) // 2]
            between = times.between(middle, told.log.end)
            assert between[0][0] <= middle
            assert between[0][1] == times.of(middle)
            assert all(times.of(at) == when for at, when in between)


def test_without_its_file_a_segment_is_as_old_as_it_looks(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.say(100, 0, 0)
    (segment,) = segments(tmp_path)
    (tmp_path / segment.times).unlink()
    os.utime(tmp_path / segment.name, (1_600_000_000, 1_600_000_000))
    times = Times(tmp_path, [segment])
    assert times.of(50) == times.first == times.last == 1_600_000_000_000_000
    assert (times.offset(1_500_000_000_000_000), times.offset(1_700_000_000_000_000)) == (0, 100)
    assert times.between(10, 20) == [(0, 1_600_000_000_000_000)]
    (tmp_path / segment.name).unlink()
    assert Times(tmp_path, [segment]).of(50) == 0
    assert Times(tmp_path, []).last == Times(tmp_path, []).offset(5) == 0


def test_times_go_with_their_segment(tmp_path: Path) -> None:
    log = Log(tmp_path, 3 * store.SEGMENT)
    log.own(1)
    for at in range(0, 6 * store.SEGMENT, store.SEGMENT):
        log.append(at, bytes(store.SEGMENT))
    kept = segments(tmp_path)
    assert len(kept) == 5
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        name for each in kept for name in (each.name, each.times)
    )
    log.close()


def test_a_record_costs_16_bytes_in_100_ms_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path, 1 << 30)
    log.own(1)
    for at in range(1000):  # a byte a millisecond, and then the clock is set back
        monkeypatch.setattr(time, "time_ns", lambda at=at: (10**15 + at * 1000 - (at > 900) * 10**9) * 1000)
        log.append(at, b"x")
    assert (tmp_path / segments(tmp_path)[0].times).stat().st_size == 10 * RECORD.size
    log.close()
