"""Patterns: what is refused, and that many lines at once find what each by itself does."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consoles.patterns import GROUP, PatternSet, complaint
from consoles.plain import Lines, plain


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("foo(bar", "missing ) at character 4, '(bar'"),
        ("a(b(c)d", "missing ) at character 2"),
        ("foo)bar", "unexpected ) at character 4, ')bar'"),
        ("[z-a]", "invalid character class range at character 2"),
        ("link [down", "missing ] at character 6"),
        ("*a", "no argument for repetition operator at character 1"),
        (r"(\d+) \1", "invalid escape sequence at character 7"),
        ("a(?=b)", "at character 2"),
        ("foo\\", "trailing \\ at its end"),
        (r"\Afoo", "at character 1"),
        ("(?i-m:^a)", "at character 1"),
        ("a\tb", "Character 2"),
        ("x*", "empty line"),
        ("", "empty line"),
        ("((a{100}){100}){100}", "at character"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_the_place(pattern: str, said: str) -> None:
    sentence = complaint(pattern)
    assert said in sentence
    assert "attern" in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("pattern", [r"\\Afoo", "^%LINK-3", "down$", "(?i)panic", r"[[:alpha:]]+ \d{1,3}", "é"])
def test_what_is_right(pattern: str) -> None:
    assert complaint(pattern) == ""


def _one_by_one(patterns: PatternSet, data: bytes) -> list[tuple[int, str, list[int]]]:
    cut = Lines()
    lines = [(at, plain(raw)) for raws in (cut.feed(0, data), cut.close()) for at, raw in raws]
    return [(at, text, found) for at, text in lines if (found := patterns.of_line(text))]


PIECES = st.sampled_from(
    [b"error", b"%LINK-3-UPDOWN: ", b"down", b" ", b"\r\n", b"\n", b"\n\n", b"\r", b"\x1b[31m", b"\x08", b"\t", b"\xff",
     "é".encode(), b"x" * 30, b"\x1b]0;title\x07", b"ok", b"  \r\n", b"\x00"]
)  # fmt: skip
PATTERNS = [
    "error",
    "^error",
    "down$",
    r"^$|a",
    r"%LINK-\d-UPDOWN: .*down",
    "[^e]rror",
    r"\berror\b",
    "r d",
    "é",
    "^ok$",
]


@given(st.lists(PIECES, max_size=120).map(b"".join))
def test_in_groups_they_find_what_each_line_finds(data: bytes) -> None:
    patterns = PatternSet([(number, each) for number, each in enumerate(PATTERNS) if not complaint(each)])
    assert list(patterns.of_lines(0, data)) == _one_by_one(patterns, data)


def test_a_large_piece_has_the_same_offsets() -> None:
    lines = [b"nothing here %d\r\n" % number for number in range(3 * GROUP // 16)]
    lines[700] = b"an error\r\n"
    data = b"".join(lines)
    patterns = PatternSet([(7, "error")])
    assert list(patterns.of_lines(1000, data)) == [(1000 + data.index(b"an error"), "an error", [7])]


def test_a_pattern_that_ruins_others_is_quick_here() -> None:
    line = "a" * 5000 + "!"
    assert PatternSet([(1, "^(a+)+$"), (2, "(a|aa)*b")]).of_line(line) == []
    assert re.match("a", line)
