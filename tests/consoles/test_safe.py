"""Output on its way to a person's own terminal: what draws passes, what asks or arms does not, however it is cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consoles.safe import STRING, Safe

DRAWS = [
    b"fw-1> show version\r\nuptime 3 days\r\n", b"\x1b[31;1mred\x1b[0m", b"\x1b[2J\x1b[H", b"\x1b[10;20Hx\x1b[K",
    b"\x1b7\x1b[1;24r\x1b8", b"\x1b(0lqk\x1b(B", b"\x1b[?1049h\x1b[?25l", b"\x1b[?7l", b"\x1b[4h", b"\x1b[38;5;196mx",
    b"\x1b[38:2::255:0:0mx", "für Geräte – ok\n".encode(), b"\a\b\t", b"\x1b[!p", b"\x1b[2 q", b"caf\xe9 \xff",
    b"\x1b]8;;https://example.org/a?b=c\x1b\\here\x1b]8;;\x1b\\", b"\x1b]8;id=1;http://example.org\ahere\x1b]8;;\a",
]  # fmt: skip
ASKS = {
    "DA1": b"\x1b[c", "DA1 with a parameter": b"\x1b[0c", "DA2": b"\x1b[>c", "DA3": b"\x1b[=c", "DECID": b"\x1bZ",
    "DSR": b"\x1b[5n", "CPR": b"\x1b[6n", "DECXCPR": b"\x1b[?6n", "printer status": b"\x1b[?15n",
    "DECREQTPARM": b"\x1b[x", "DECRQM": b"\x1b[?2026$p", "ANSI DECRQM": b"\x1b[4$p", "XTVERSION": b"\x1b[>q",
    "DECRQSS": b"\x1bP$qm\x1b\\", "XTGETTCAP": b"\x1bP+q544e\x1b\\", "DECRQCRA": b"\x1b[1;1;1;1;1;1*y",
    "DECRQPSR": b"\x1b[1$w", "DECRQUPSS": b"\x1b[&u", "DECRQTSR": b"\x1b[1$u", "locator": b"\x1b[1'|",
    "kitty keyboard": b"\x1b[?u", "kitty graphics": b"\x1b_Gi=1,a=q;AAAA\x1b\\", "XTQMODKEYS": b"\x1b[?4m",
    "XTSMGRAPHICS": b"\x1b[?1;1;0S", "title report": b"\x1b[21t", "window size report": b"\x1b[18t",
    "title": b"\x1b]0;rm -rf /\a", "colour query": b"\x1b]11;?\a", "palette query": b"\x1b]4;1;?\x1b\\",
    "clipboard read": b"\x1b]52;c;?\a", "clipboard write": b"\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "other link": b"\x1b]8;;file:///etc/passwd\x1b\\", "script link": b"\x1b]8;;javascript:alert(1)\a",
    "mouse": b"\x1b[?1003h", "focus": b"\x1b[?1004h", "colour reports": b"\x1b[?2031h", "size reports": b"\x1b[?2048h",
    "VT52": b"\x1b[?2l", "keyboard off": b"\x1b[2h", "printer": b"\x1b[5i", "ENQ": b"\x05", "8-bit answers": b"\x1b G",
    "modify keys": b"\x1b[>4;2m", "out of UTF-8": b"\x1b%@", "iTerm": b"\x1b]1337;RequestUpload\a",
    "DECUDK": b"\x1bP0;1|\x1b\\",
}  # fmt: skip
ASKING = re.compile(
    rb"\x1b\[[\x20-\x3f]*[cnxtyiwv|]|\x1b\[[<=>?][\x20-\x3f]*[@-IL-gi-km-~]|\x1b\[[^\x40-\x7e]*[$*&'][\x40-\x7e]|\x1b[PX^_Z%]"
    rb"|\x1b\](?!8;)|\x05|\x1b\[\?[0-9;]*(?:100[0-6]|101[56]|2031|2048|\b9\b)[0-9;]*[hl]"
)
"""As told by xterm's ctlseqs, apart from the filter's own list."""


def through(*chunks: bytes) -> bytes:
    safe = Safe()
    return b"".join(safe.feed(each) for each in chunks)


@pytest.mark.parametrize("output", DRAWS)
def test_what_draws_passes(output: bytes) -> None:
    assert through(output) == output


@pytest.mark.parametrize("name", ASKS)
def test_what_asks_or_arms_is_left_out(name: str) -> None:
    assert through(b"a" + ASKS[name] + b"b") == b"ab"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"\x1b[?1000;25;1006h", b"\x1b[?25h"),
        (b"\x9b6n", b"?6n"),
        (b"\xc2\x9b6n \xc2\x90$qm", b"?6n ?$qm"),
        (b"\xe0\x82\x9b6n", b"\xe0??6n"),
        (b"\xc2\x1b[6n\x9b6n", b"\xc2?6n"),
        (b"\x1b\x1b[6n[6n", b"[6n"),
        (b"\x1b[6\x1b[6nn", b"n"),
        (b"\x1b[6\nn", b"\nn"),
        (b"\x1b]0;never ends\nnext line\n", b"\nnext line\n"),
        (b"\x1bPnever ends\x18on", b"on"),
        (b"\x1b]8;;http://a b\a", b""),
        (b"\x1b[" + b"1" * 100 + b"n", b"1" * 36 + b"n"),
        (b"\x1b]0;" + b"x" * STRING + b"y", b"xxy"),
    ],
)
def test_what_is_malformed_hides_nothing_and_does_nothing(output: bytes, shown: bytes) -> None:
    assert through(output) == shown


PARTS = (b"\x1b", b"[", b"]", b"\\", b";", b"?", b"6n", b"\xc2", b"\x9b", b"\n")
OUTPUT = st.lists(st.sampled_from([*DRAWS, *ASKS.values(), *PARTS]) | st.binary(max_size=6), max_size=12).map(b"".join)


@given(output=OUTPUT, cuts=st.lists(st.integers(0, 200), max_size=6))
@example(output=b"\x1b]8;;http://a\x1b\\x", cuts=[13])
@example(output=b"\x1b]0;" + b"x" * (STRING + 1), cuts=[4 + STRING])
@settings(deadline=None)
def test_it_does_not_matter_how_output_is_cut(output: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(each, len(output)) for each in cuts), len(output)]
    cut = [output[start:end] for start, end in pairwise(places)]
    assert through(*cut) == through(output)
    assert through(*(bytes([each]) for each in output)) == through(output)


@given(output=OUTPUT)
@settings(deadline=None)
def test_nothing_that_asks_comes_out_and_what_came_out_is_let_through_again(output: bytes) -> None:
    shown = through(output + b"\n")
    assert not ASKING.search(shown), shown
    assert through(shown) == shown
