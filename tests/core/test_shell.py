"""Template tags of the page shell."""

from datetime import timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone

from core.templatetags import shell


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (4.9, "just now"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")],
)
def test_ages(seconds: float, text: str) -> None:
    assert shell.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (48, "48 s"), (61, "1 min 1 s"), (3600, "1 h"), (93_784, "1 d 2 h")]
)
def test_spans(seconds: int, text: str) -> None:
    now = timezone.now()
    assert shell.lasted(now, now + timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0.000 ms"), (640, "0.640 ms"), (2345, "2.35 ms"), (250_000, "250 ms")]
)
def test_milliseconds(value: int | None, text: str) -> None:
    assert shell.ms(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (1.25e9, "10 Gbit/s"), (12, "96 bit/s")])
def test_bandwidth_is_in_bits(value: float | None, text: str) -> None:
    assert shell.bandwidth(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0, "0 %"), (0.1, "0.1 %"), (6.24, "6.2 %"), (100, "100 %")])
def test_percent(value: float | None, text: str) -> None:
    assert shell.percent(value) == text


def test_a_sparkline_has_a_line_for_each_run_without_gap() -> None:
    assert shell.sparkline([1, 2, None, 3], "l").count("<polyline") == 2
    assert "no data yet" in shell.sparkline([None], "l")
    assert "nan" not in shell.sparkline([0, 0], "l")


def test_labels_and_states_are_escaped() -> None:
    page = Template('{% state name %}{% state "up" name %}{% sparkline values name %}')
    html = page.render(Context({"name": "<b>", "values": [1.0]}))
    assert html.count("&lt;b&gt;") == 3
    assert "<b>" not in html


def test_an_icon_that_is_not_vendored_names_the_fix() -> None:
    with pytest.raises(LookupError, match=r"name it in netops/vendor\.py"):
        shell.icon("no-such-icon")
