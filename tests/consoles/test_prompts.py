"""What answers to a newline mean."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consoles.prompts import Verdict, judge, question, readable, same

HOSTS = {
    "IOS": (b"\r\nfw-1>", "fw-1"),
    "IOS enabled": (b"\r\nfw-1#", "fw-1"),
    "IOS configuring": (b"\r\nfw-1(config-if)#", "fw-1"),
    "IOS woken up": (b"\r\nfw-1 con0 is now available\r\n\r\nPress RETURN to get started.\r\n\r\nfw-1>", "fw-1"),
    "IOS, then a message": (
        b"\r\nfw-1#\r\n*Mar  1 00:01:02.123: %LINK-3-UPDOWN: Interface Gi0/1, changed state to up\r\n", "fw-1",
    ),
    "IOS XR": (b"\r\n\r\nRP/0/RSP0/CPU0:core-3#", "core-3"),
    "NX-OS": (b"\r\r\nleaf-7# ", "leaf-7"),
    "NX-OS login": (b"\r\r\n\r\nUser Access Verification\r\nleaf-7 login: ", "leaf-7"),
    "NX-OS configuring": (b"\r\nleaf-7(config-if-range)# ", "leaf-7"),
    "ASA": (b"\r\nfw-1/pri/act# ", "fw-1"),
    "Junos": (b"\r\n\r\n{master:0}\r\nadmin@edge-2> ", "edge-2"),
    "Junos configuring": (b"\r\n\r\n[edit]\r\nadmin@edge-2# ", "edge-2"),
    "Junos shell": (b"\r\nroot@edge-2% ", "edge-2"),
    "Junos login": (b"\r\n\r\nedge-2 (ttyu0)\r\n\r\nlogin: ", "edge-2"),
    "EOS": (b"\r\nspine1>", "spine1"),
    "EOS in a session": (b"\r\nspine1(s1)(config-if-Et1)#", "spine1"),
    "EOS login": (b"\r\nspine1 login: ", "spine1"),
    "Linux login": (b"\r\nDebian GNU/Linux 12 srv.example.org ttyS0\r\n\r\nsrv login: ", "srv"),
    "Linux, the name in the issue": (b"\r\nDebian GNU/Linux 12 srv ttyS0\r\n\r\nlogin: ", "srv"),
    "Linux shell": (b"\r\n\x1b[?2004h\x1b]0;root@srv: ~\x07\x1b[01;32mroot@srv\x1b[00m:\x1b[01;34m~\x1b[00m# ", "srv"),
    "Red Hat shell": (b"\r\n[root@srv ~]# ", "srv"),
    "busybox": (b"\r\nap-4 login: \r\nap-4 login: ", "ap-4"),
    "PAN-OS": (b"\r\nadmin@pa-1(active)> ", "pa-1"),
    "FortiOS": (b"\r\nFGT-60F # ", "FGT-60F"),
    "FortiOS login": (b"\r\nFGT-60F login: ", "FGT-60F"),
    "FortiOS, a VDOM": (b"\r\nFGT-60F (global) # ", "FGT-60F"),
    "VRP": (b"\r\n<ce-6800>", "ce-6800"),
    "VRP configuring": (b"\r\n[~ce-6800]", "ce-6800"),
    "RouterOS": (b"\r\n[admin@MikroTik] > ", "MikroTik"),
    "RouterOS in a menu": (b"\r\n[admin@MikroTik] /ip/address> ", "MikroTik"),
    "SR OS": (b"\r\n*A:pe-1>config>router# ", "pe-1"),
    "SR OS, MD": (b"\r\n[/]\r\nA:admin@pe-1# ", "pe-1"),
    "ArubaOS": (b"\r\n(wlc-1) [mynode] #", "wlc-1"),
    "FRR": (b"\r\nvm# ", "vm"),
    "the lab": (b"\r\nR1 login: ", "R1"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTS)
def test_the_host_is_named(case: str) -> None:
    answer, host = HOSTS[case]
    assert judge(answer) == Verdict("ok", f"{host} answers.", host)
    assert judge(answer, host.upper()).result == "ok"
    other = judge(answer, "other-9")
    assert (other.result, host in other.sentence, "other-9" in other.sentence) == ("mismatch", True, True)
    assert question(answer) == ""


REST = {
    b"": "silent",
    b"\r\n": "echo",
    b"\r": "echo",
    b"\x1b[2J\x1b[H\r\n": "echo",
    b"\r\nPassword: ": "ok",
    b"\r\nadmin@10.1.1.1's password: ": "ok",
    b"\r\n\r\nUser Access Verification\r\n\r\nUsername: ": "ok",
    b"\r\nlogin: ": "ok",
    b"\r\n --More-- ": "ok",
    b"\r\n---(more)---": "ok",
    b"\r\n---(more 32%)---": "ok",
    b"\r\n<--- More --->": "ok",
    b"\r\nlines 1-23": "ok",
    b"\r\n-- MORE --, next page: Space, next line: Enter, quit: Control-C": "ok",
    b"\r\n# ": "ok",
    b"\r\n$ ": "ok",
    b"\r\nrommon 1 > ": "loader",
    b"\r\nswitch: ": "loader",
    b"\r\n=> ": "loader",
    b"\r\ngrub> ": "loader",
    b"\r\nloader> ": "loader",
    b"\r\nAboot# ": "loader",
    b"\r\n*** Kernel panic - not syncing": "unknown",
    b"\r\nstarting eth0 ...\r\n": "unknown",
    "\r\nBenutzer für R1 ist gesperrt\r\n".encode(): "unknown",
    bytes(random.Random(1).randbytes(64)): "garbled",
    b"\x80\xfe\xff\x00\xf8\xe6\x9e\x00": "garbled",
    b"\xff": "garbled",
    b"\0" * 5: "garbled",
}


@pytest.mark.parametrize("answer", REST)
def test_what_else_comes_back(answer: bytes) -> None:
    verdict = judge(answer, "R1")
    assert (verdict.result, verdict.host) == (REST[answer], ""), verdict.sentence
    assert verdict.sentence.endswith(".") or verdict.result == "unknown"


def test_what_a_device_says_stays_short_and_plain() -> None:
    verdict = judge(b"\r\n\x1b]52;c;ZXZpbA==\x07\xe2\x80\xae" + b"x" * 5000)
    assert verdict.result == "unknown"
    assert len(verdict.sentence) < 255
    assert verdict.sentence.isprintable()


@pytest.mark.parametrize(
    ("host", "device", "expected"),
    [
        ("fw-1", "FW-1", True),
        ("fw-1", "fw-1.example.org", True),
        ("fw-1.example.org", "fw-1", True),
        ("fw-1.example.org", "fw-1.example.net", True),
        ("edge-2-re1", "edge-2", True),
        ("fw-1", "fw-10", False),
        ("fw-10", "fw-1", False),
        ("a-name-of-twenty-sig", "a-name-of-twenty-signs-and-more", True),
        ("a-name", "a-name-of-twenty-signs-and-more", False),
        ("10", "10.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
    ],
)
def test_names_are_compared_as_devices_write_them(host: str, device: str, expected: bool) -> None:
    assert same(host, device) is expected


QUESTIONS = [
    b"\r\nProceed with reload? [confirm]",
    b"\r\nDelete bootflash:startup? [yes/no]: ",
    b"\r\nReboot the system ? [yes,no] (no) ",
    b"\r\nDo you want to continue? (y/n) ",
    b"\r\nDestination filename [startup-config]? ",
    b"\r\nAre you sure?",
]


@pytest.mark.parametrize("output", QUESTIONS)
def test_a_newline_is_not_sent_where_it_would_be_an_answer(output: bytes) -> None:
    assert question(b"some output\r\nfw-1# reload" + output)


@pytest.mark.parametrize("output", [b"", b"Are you sure?\r\n", b"fw-1# ", b"Password: ", b"done [ok]\r\nfw-1> "])
def test_elsewhere_it_is(output: bytes) -> None:
    assert question(output) == ""


def test_how_much_of_it_is_text() -> None:
    assert readable(b"") == 0.0
    assert readable("R1# grüße\r\n".encode()) == 1.0
    assert readable(b"R1\xff\xff") == 0.5


PIECES = [
    b"password",
    b"(",
    b"[y/n]",
    b"more",
    b"R1",
    b"#",
    b"> ",
    b":",
    b"@",
    b"\r\n",
    b"\x1b[",
    b"/pri",
    b"\xff",
    b"? ",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=40).map(b"".join))
def test_nothing_that_a_device_says_breaks_the_judge(answer: bytes) -> None:
    for device in ("", "R1"):
        verdict = judge(answer, device)
        assert len(verdict.result) <= 10
        assert verdict.sentence.isprintable()
        assert len(verdict.sentence) < 255
    assert question(answer).isprintable()


@pytest.mark.parametrize("piece", PIECES)
def test_how_long_it_looks_is_bounded(piece: bytes) -> None:
    """A judge that went back and forth over all of it would take minutes here."""
    judge(piece * ((1 << 20) // len(piece)), "R1")
    question(piece * ((1 << 20) // len(piece)))
