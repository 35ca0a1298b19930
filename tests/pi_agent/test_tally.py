from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pi_agent.prober.report import Record
from pi_agent.prober.tally import Tally

MS = 1_000_000
TIMEOUT = 50 * MS


@dataclass
class Probe:
    """What the network does with one probe: milliseconds until each copy is back."""

    copies: list[int] = field(default_factory=list)


probes = st.lists(st.builds(Probe, st.lists(st.integers(0, 120), max_size=3)), max_size=40)


def play(tally: Tally, plan: list[Probe], interval: int, report: int) -> list[Record]:
    """Send one probe each interval (ms), take a record each `report` ms, until everything is over."""
    arrivals = sorted(
        (number * interval + delay, number) for number, probe in enumerate(plan) for delay in probe.copies
    )
    first = tally.sequence
    records = []
    for now in range(interval * len(plan) + 300):
        if now % interval == 0 and now // interval < len(plan):
            tally.sent(now * MS)
        while arrivals and arrivals[0][0] == now:
            _, number = arrivals.pop(0)
            assert tally.came((first + number) % 2**32, number * interval * MS, now * MS, TIMEOUT)
        if now % report == 0 and (record := tally.take(now * MS, TIMEOUT)):
            records.append(record)
    return records


def reordered(plan: list[Probe], interval: int) -> int:
    """RFC 4737: a first copy, in time, that comes after one of a later probe."""
    came = [(n * interval + min(p.copies), n) for n, p in enumerate(plan) if p.copies and min(p.copies) <= 50]
    return sum(any(time < mine and other > number for time, other in came) for mine, number in came)


@given(probes, st.integers(1, 20), st.integers(1, 90), st.sampled_from([0, 2**32 - 7]))
def test_every_probe_is_decided_once_and_rightly(plan: list[Probe], interval: int, report: int, first: int) -> None:
    tally = Tally(3)
    tally._base = first  # as if so many had gone before: the sequence wraps in the midst
    records = play(tally, plan, interval, report)
    assert tally.settled
    position = first
    for record in records:
        assert record.first == position % 2**32
        position += len(record.rtts)
    in_time = [[delay for delay in probe.copies if delay <= 50] for probe in plan]
    expected = [min(delays) * 1000 if delays else None for delays in in_time]
    assert [rtt for record in records for rtt in record.rtts] == expected
    assert sum(record.late for record in records) == sum(
        1 for probe, delays in zip(plan, in_time, strict=True) if probe.copies and not delays
    )
    assert sum(record.duplicate for record in records) == sum(max(0, len(probe.copies) - 1) for probe in plan)
    assert sum(record.reordered for record in records) == reordered(plan, interval)


def test_a_run_waits_for_its_oldest_probe() -> None:
    tally = Tally(1)
    for now in (0, 10):
        tally.sent(now * MS)
    tally.came(1, 10 * MS, 12 * MS, TIMEOUT)
    assert tally.take(20 * MS, TIMEOUT) is None
    assert tally.take(50 * MS, TIMEOUT) == Record(1, 0, (None, 2000))


def test_a_reply_is_matched_by_its_transmit_time_too() -> None:
    tally = Tally(1)
    tally.sent(5)
    assert not tally.came(0, 6, 7, TIMEOUT)
    assert not tally.came(1, 5, 7, TIMEOUT)
    assert tally.take(TIMEOUT + 5, TIMEOUT) == Record(1, 0, (None,))


def test_a_reply_from_before_the_history_is_late_and_memory_is_bounded() -> None:
    tally = Tally(1)
    for second in range(1000):
        tally.sent(second * 1000 * MS)
        tally.take((second * 1000 + 60) * MS, TIMEOUT)
    assert len(tally._sent) < 5
    assert tally.came(3, 3000 * MS, 999_000 * MS, TIMEOUT)
    record = tally.take(2_000_000 * MS, TIMEOUT)
    assert record is not None
    assert record.late == 1


def test_counts_over_sixteen_bits_wait_for_the_next_record() -> None:
    tally = Tally(1)
    for _ in range(70_000):
        tally.sent(0)
    for _ in range(70_001):
        tally.came(0, 0, 1, TIMEOUT)
    records = [tally.take(TIMEOUT, TIMEOUT) for _ in range(3)]
    assert [(len(r.rtts), r.duplicate) if r else None for r in records] == [(65535, 65535), (4465, 4465), None]
