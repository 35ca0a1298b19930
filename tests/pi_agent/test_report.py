from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_agent.prober.report import Record, Report, ReportError, decode, encode

u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
records = st.builds(
    Record,
    u32,
    u32,
    st.lists(st.none() | u32, max_size=40).map(tuple),
    late=u16,
    duplicate=u16,
    reordered=u16,
)
reports = st.builds(
    Report,
    u32,
    st.integers(0, 2**64 - 1),
    st.lists(records, max_size=5, unique_by=lambda record: record.walk).map(tuple),
)


@given(reports)
def test_a_report_comes_back_from_its_bytes(report: Report) -> None:
    payload = encode(report)
    assert decode(payload) == report
    assert len(payload) == 15 + sum(record.size for record in report.records)


@given(reports, st.data())
def test_a_report_cut_short_or_continued_is_refused(report: Report, data: st.DataObject) -> None:
    payload = encode(report)
    with pytest.raises(ReportError):
        decode(payload[: data.draw(st.integers(0, len(payload) - 1))])
    with pytest.raises(ReportError):
        decode(payload + data.draw(st.binary(min_size=1, max_size=30)))


@given(reports, st.data())
def test_no_flipped_byte_raises_anything_but_report_error(report: Report, data: st.DataObject) -> None:
    payload = bytearray(encode(report))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ReportError):
        assert encode(decode(bytes(payload))) == bytes(payload), "there is one encoding of a report, no other"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_report_error(payload: bytes) -> None:
    for prefix in (b"", b"\x01"):
        with contextlib.suppress(ReportError):
            decode(prefix + payload)


def test_the_layout_is_the_documented_one() -> None:
    report = Report(7, 1_000_000, (Record(3, 9, (250, None, 300), late=1, duplicate=2, reordered=4),))
    header = "01 00000007 00000000000f4240 0001"
    record = "00000003 00000009 0003 0002 0001 0002 0004" + "05" + "000000fa 0000012c"
    assert encode(report) == bytes.fromhex(header + record)


@pytest.mark.parametrize(
    "report",
    [
        Report(-1, 0, ()),
        Report(0, 2**64, ()),
        Report(0, 0, (Record(1, 0, (2**32,)),)),
        Report(0, 0, (Record(1, 0, (None,) * 65536),)),
    ],
)
def test_what_does_not_fit_is_refused(report: Report) -> None:
    with pytest.raises(ReportError, match="does not fit its format"):
        encode(report)


def test_a_walk_may_not_occur_twice() -> None:
    with pytest.raises(ReportError, match="twice"):
        decode(encode(Report(1, 1, (Record(1, 0, ()), Record(1, 0, ())))))
