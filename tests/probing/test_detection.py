"""Detection: the states and their hysteresis, and how quiet a healthy network is."""

import json
import random
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probing.detection import HISTORY, Detector, Thresholds, shared_window

LAB = Thresholds(wires=8)


def feed(detector: Detector, outcomes: str, thresholds: Thresholds = LAB) -> list[tuple[str, str]]:
    """Feed probes one by one, `.` received and `x` lost; the changes of condition and reason."""
    changes: list[tuple[str, str]] = []
    for outcome in outcomes:
        if detector.feed(thresholds, bytes([outcome == "."]), 1):
            changes.append((detector.condition, detector.reason))
    return changes


def lossy(rng: random.Random, count: int, rate: float) -> bytes:
    """A report's bitmap of so many probes with independent loss; costs time for each loss only."""
    lost, at = 0, -1
    while rate:
        at += 1 + int(log(1 - rng.random()) / log(1 - rate))
        if at >= count:
            break
        lost |= 1 << at
    return (((1 << count) - 1) ^ lost).to_bytes((count + 7) // 8, "little")


def gilbert_elliott(rng: random.Random, count: int, rate: float, burst: float) -> bytes:
    """Bursty loss (Gilbert 1960): all is lost in the bad state, whose mean length is `burst` probes."""
    received, at = 0, 0
    while at < count:
        good = 1 + int(log(1 - rng.random()) / log(1 - rate / burst / (1 - rate)))
        received |= ((1 << min(good, count - at)) - 1) << at
        at += good + 1 + int(log(1 - rng.random()) / log(1 - 1 / burst))
    return received.to_bytes((count + 7) // 8, "little")


def test_five_losses_in_a_row_are_down_and_ten_answers_up_again() -> None:
    detector = Detector()
    assert feed(detector, "....xxxx....xxxx") == []
    detector = Detector()
    assert feed(detector, "....xxxxx") == [("down", "hard loss")]
    assert feed(detector, "xxxxx" + "." * 9 + "x" + "." * 9) == []
    assert feed(detector, ".") == [("up", "")]
    assert detector.suspected == 0


def test_grey_loss_degrades_and_takes_proof_to_recover() -> None:
    detector = Detector()
    assert feed(detector, "....x" * 60) == [("degraded", "grey loss")]
    assert feed(detector, "." * 90 + "x" + "." * 20) == []
    assert feed(detector, "." * 200) == [("up", "")]


def test_a_hard_loss_within_grey_loss_returns_to_grey() -> None:
    detector = Detector()
    feed(detector, "..x" * 60)
    assert (detector.condition, detector.reason) == ("degraded", "grey loss")
    assert feed(detector, "xxxxx..........") == [("down", "hard loss"), ("degraded", "grey loss")]


def test_a_walk_that_was_cut_returns_straight_to_up() -> None:
    detector = Detector()
    assert feed(detector, "." * 100 + "x" * 500 + "." * 10) == [("down", "hard loss"), ("up", "")]


def test_latency_degrades_and_recovers_by_runs() -> None:
    limit = Thresholds(wires=8, latency_us=10_000)
    detector = Detector()
    assert not detector.feed(limit, b"\xff", 8, [20_000] * 4 + [9_000] + [20_000] * 3)
    assert detector.feed(limit, b"\x03", 2, [20_000, 10_001])
    assert (detector.condition, detector.reason) == ("degraded", "latency")
    assert not detector.feed(limit, b"\xff\x01", 9, [10_000] * 9)
    assert detector.feed(limit, b"\x01", 1, [10_000])
    assert detector.condition == "up"
    detector.feed(limit, b"\xff", 8, [20_000] * 8)
    assert detector.feed(LAB, b"\x01", 1, [20_000])
    assert detector.condition == "up"
    assert detector.suspected == 0


def test_hard_loss_outranks_grey_loss_outranks_latency() -> None:
    limit = Thresholds(wires=8, latency_us=1)
    detector = Detector()
    detector.feed(limit, b"\xff", 8, [5] * 8)
    assert detector.reason == "latency"
    for outcomes, reason in (("..x" * 40, "grey loss"), ("xxxxx", "hard loss")):
        for outcome in outcomes:
            detector.feed(limit, bytes([outcome == "."]), 1, [5] if outcome == "." else [])
        assert detector.reason == reason


@given(
    st.lists(st.sampled_from([".", "x", "." * 12, "xxxxxx", "...x" * 10, "." * 150]), max_size=12).map("".join),
    st.data(),
    st.sampled_from([LAB, Thresholds(wires=1), Thresholds(wires=16, recover_run=200), Thresholds(wires=3, hard_run=2)]),
)
def test_how_outcomes_are_cut_into_batches_does_not_matter(
    outcomes: str, data: st.DataObject, thresholds: Thresholds
) -> None:
    one, other = Detector(), Detector()
    feed(one, outcomes, thresholds)
    while outcomes:
        count = data.draw(st.integers(1, len(outcomes)))
        bits = sum(1 << i for i, outcome in enumerate(outcomes[:count]) if outcome == ".")
        other.feed(thresholds, bits.to_bytes((count + 7) // 8, "little"), count)
        outcomes = outcomes[count:]
        other = Detector.from_json(json.loads(json.dumps(other.to_json())))
    assert one == other


@given(st.binary(max_size=400), st.integers(-1, 4000), st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_no_report_breaks_it(bitmap: bytes, count: int, rtts: list[int]) -> None:
    detector = Detector()
    detector.feed(Thresholds(wires=0, latency_us=0), bitmap, count, rtts)
    assert detector.seen == max(0, count)
    sent, lost = detector.evidence(10_000)
    assert (sent, 0 <= lost <= sent) == (min(detector.seen, HISTORY), True)
    assert all(isinstance(value, str) or abs(value) < 2**63 for value in detector.to_json().values())


@given(st.lists(st.booleans(), max_size=50), st.integers(0, 60))
def test_evidence_is_about_the_latest_probes(outcomes: list[bool], probes: int) -> None:
    detector = Detector()
    feed(detector, "".join(".x"[lost] for lost in outcomes))
    latest = outcomes[max(0, len(outcomes) - probes) :]
    assert detector.evidence(probes) == (len(latest), sum(latest))


def test_history_is_bounded_and_keeps_the_latest() -> None:
    detector = Detector()
    detector.feed(LAB, bytes(500) + b"\xff" * 500, 8000)
    assert detector.evidence(9999) == (HISTORY, 0)
    assert feed(detector, "xx.") == []
    assert detector.evidence(4) == (4, 2)


def test_evidence_starts_where_the_loss_began() -> None:
    cut, grey, fine = Detector(), Detector(), Detector()
    feed(cut, "." * 300 + "x" * 7)
    assert cut.suspected == 7
    feed(grey, "." * 300 + "x..." * 40)
    assert 100 < grey.suspected <= 160
    feed(fine, "." * 30 + "x" + "." * 3)
    assert fine.suspected == 0
    assert shared_window([cut, grey, fine]) == 7
    assert shared_window([grey, fine]) == grey.suspected
    assert shared_window([fine]) == shared_window([]) == 0
    feed(cut, "xx" + "." * 10)
    assert cut.suspected == 0


def test_grey_loss_of_ten_percent_on_one_wire_is_found_through_normal_loss() -> None:
    rng = random.Random(2)
    for _ in range(20):
        detector = Detector()
        detector.feed(LAB, lossy(rng, 6_000, 0.008), 6_000)
        assert detector.condition == "up"
        detector.feed(LAB, lossy(rng, 1_000, 0.108), 1_000)
        assert detector.condition != "up"


@pytest.mark.parametrize("batch", [25, 600])
def test_24_hours_of_a_lab_campaign_with_a_little_loss_on_every_wire_raise_no_alarm(batch: int) -> None:
    """16 walks of up to 16 wires, 10 probes/s each, 0.1 % loss on each wire: 13.8 million probes, in reports' batches.

    Small batches do an hour only: what they cost is the reports, not the probes.
    """
    rng = random.Random(1)
    seconds = 24 * 3600 if batch == 600 else 3600
    lost = 0
    for walk in range(16):
        wires = 1 + walk
        thresholds, detector = Thresholds(wires, latency_us=50_000), Detector()
        for _ in range(seconds * 10 // batch):
            bitmap = lossy(rng, batch, 1 - 0.999**wires)
            lost += batch - int.from_bytes(bitmap, "little").bit_count()
            assert not detector.feed(thresholds, bitmap, batch, (900, 1100)), detector
        assert detector.seen == seconds * 10
    assert lost == pytest.approx(16 * seconds * 10 * 0.0085, rel=0.1)


def test_a_minute_at_ten_times_the_rate_raises_no_alarm() -> None:
    rng = random.Random(3)
    for _ in range(200):
        detector = Detector()
        assert not detector.feed(Thresholds(16), lossy(rng, 6_000, 1 - 0.999**16), 6_000)


def test_bursts_are_where_five_in_a_row_ends() -> None:
    """The limit, on record: 0.1 % of loss in bursts of five on average does alarm, and a longer `hard_run` helps."""
    rng = random.Random(4)
    bursts = [gilbert_elliott(rng, 36_000, 0.001, 5) for _ in range(20)]
    alarms = []
    for hard_run in (5, 25):
        thresholds = Thresholds(wires=16, hard_run=hard_run)
        detectors = [Detector() for _ in bursts]
        downs = 0
        for detector, bitmap in zip(detectors, bursts, strict=True):
            for at in range(0, len(bitmap), 50):
                detector.feed(thresholds, bitmap[at : at + 50], 400)
                downs += detector.hard
        alarms.append(downs)
    assert alarms[0] > 0
    assert alarms[1] < alarms[0] / 4
