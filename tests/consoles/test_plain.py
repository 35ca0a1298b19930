"""Output as text: what ECMA-48 moves and rewrites is applied, nothing else survives, whatever is sent."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consoles.plain import LINE, WIDTH, Lines, plain, rows


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"Linux version 6.1\r\n", "Linux version 6.1"),
        (b"\x1b[1;31mERR\x1b[0m eth0: link \x1b[38;5;1mdown\x1b[m\r\n", "ERR eth0: link down"),
        (b"10%\r20%\r100% done\r\n", "100% done"),
        (b"shwo\b\b\b\x1b[Khow version\r\n", "show version"),
        (b"show vresion\x1b[6D\x1b[P\x1b[C\x1b[@r\n", "show version"),
        (b"abc\x1b[2Gxy\x1b[10Gend", "axy      end"),
        (b"abcdef\x1b[3D\x1b[2X|", "abc| f"),
        (b"abcdef\x1b[3D\x1b[1K", "    ef"),
        (b"abc\x1b[2Kx", "   x"),
        (b"a\tb", "a       b"),
        (b"\x1b]0;root@fw-1: ~\x07fw-1# ", "fw-1#"),
        (b"\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\", "click"),
        (b"\x1b]52;c;c3VkbyBybSAtcmY=\x07ok", "ok"),
        (b'\x1bP$q"p\x1b\\ok\x9c\xc2\x9b31mred', "ok\ufffdred"),
        (b"\xc2\x9d0;title\xc2\x9cok \x1b_apc\x1b\\\x1bXsos\x1b\\\x1b^pm\x1b\\.", "ok ."),
        (b"never ends \x1b]0;hidden\n", "never ends"),
        (b"cut \x1b[12;\n", "cut"),
        (b"charset \x1b(B\x1b)0\x0e\x0f\x1b=\x07 ok", "charset  ok"),
        ("fw\u202e1-drowssap\u2066\u200f".encode(), "fw1-drowssap"),
        (b"bad \xff\xfe utf", "bad \ufffd\ufffd utf"),
        (b"\xe2\x80\xa8two\x00", " two"),
        (b"\x1b[999999999999999Cx", "x"),
    ],
)
def test_what_a_terminal_would_show(line: bytes, text: str) -> None:
    assert plain(line) == text


def test_moves_to_other_rows_begin_a_new_one() -> None:
    screen = b"\x1b[2J\x1b[H\x1b[1;1HBIOS setup\x1b[3;5H> Boot order\x1b[4;5H  Exit\x0bnext"
    assert rows(screen) == ["BIOS setup", "> Boot order", "  Exit", "next"]
    assert plain(screen) == "BIOS setup > Boot order   Exit next"


def _harmless(text: str) -> bool:
    bidi = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c"}
    return not any(unicodedata.category(each) in ("Cc", "Zl", "Zp") or each in bidi for each in text)


PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"\x1b[", b"\x1b]", b"\x1bP", b"\xc2\x9b", b"\xc2\x9d", b"\x1b\\", b"\x07", b"\r", b"\b", b"\t"]),
    st.sampled_from([b"999999;5", b"?", b"2", b"K", b"J", b"H", b"C", b"D", b"@", b"P", b"X", b"m", b"G", b"\x0b"]),
    st.text(max_size=8).map(str.encode),
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=60))
def test_no_output_makes_a_control_character(pieces: list[bytes]) -> None:
    line = b"".join(pieces).replace(b"\n", b"") + b"\r\n"
    assert _harmless(plain(line))
    assert sum(map(len, rows(line))) <= (len(line) + 1) * WIDTH


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 9).map(lambda n: max(0, n - 7))), max_size=30))
def test_lines_are_the_same_however_the_stream_is_cut(pieces: list[tuple[bytes, int]]) -> None:
    """Against all of it at once; a gap ends a line."""
    lines, offset, start, so_far = Lines(), 0, 0, b""
    found: list[tuple[int, bytes]] = []
    want: list[tuple[int, bytes]] = []
    for data, gap in pieces:
        if gap and data:
            offset += gap
            if so_far:
                want.append((start, so_far))
            start, so_far = offset, b""
        found += lines.feed(offset, data)
        offset += len(data)
        so_far += data
        while b"\n" in so_far:
            line, _, so_far = so_far.partition(b"\n")
            want.append((start, line + b"\n"))
            start += len(line) + 1
        assert lines.offset == (start if so_far else offset)
    found += lines.close()
    assert found == want + ([(start, so_far)] if so_far else [])


def test_a_line_without_end_is_cut_and_memory_stays() -> None:
    lines = Lines()
    got: list[tuple[int, bytes]] = []
    for at in range(0, 10 * LINE, 1000):
        got += lines.feed(at, b"x" * 1000)
        assert len(lines._rest) < LINE + 1000
    assert [len(line) for _, line in got] == [LINE] * (10 * LINE // LINE)
