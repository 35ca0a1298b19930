"""What a device's answer to a newline says: whether it is text, whether it ends in a prompt, and whose that is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from consoles.plain import rows

READABLE = 0.75
"""Of the bytes, so that they count as text: a wrong speed or parity makes half of them or fewer look like it."""
LAST_ROWS = 12
"""Rows that are looked through: a message of the device's may come after its prompt."""
KEPT = 8 << 10
"""Bytes in which they are."""
WIDTH = 200
_NAME = r"(?P<host>[A-Za-z0-9][\w.-]{0,62}?)"
_LOADER = re.compile(
    r"(rommon ?\d* ?>|switch:|loader(-\w+)?>|(u-boot)? ?=>|u-boot>|grub(-\w+)?>|boot>|aboot#|\(initramfs\)|ok|>>>)",
    re.I,
)
_PAGER = re.compile(
    r"(-+|<-+|\x20*)\s*\(?more\b.*|.*--\s?more\s?--.*|lines \d+-\d+.*|\(end\)|:|(press|hit) (any key|space|enter).*",
    re.I,
)
_QUESTION = re.compile(r".*(\[[\w/ ]{1,20}\]|\([\w/ ]{1,20}\))\s*[:?]?|.*\?|.*\[confirm\].*", re.I)
_PASSWORD = re.compile(r".*(password|passcode|passphrase)\b.*:", re.I)
_LOGIN = re.compile(rf"({_NAME}(\s\w+)?\s)?(login|user ?name|user|login as|account) ?:", re.I)
_BANNER = re.compile(rf"({_NAME} \(tty\w+\)|.* {_NAME.replace('host', 'issue')} tty\w+)")
_PROMPTS = [
    re.compile(pattern)
    for pattern in (
        rf"RP/\d+/\w+/\w+:{_NAME}(\([^)]*\))?[#>]",  # IOS XR
        rf"\*?[A-D]:(\w+@)?{_NAME}(>[\w>-]+)?[#$]",  # SR OS
        rf"\[?[\w.-]+@{_NAME}([:\s(][^>#$%]*)?\]?\s*(/[\w/ -]*)?[>#$%]",  # Junos, PAN-OS, RouterOS, a shell
        rf"\({_NAME}\)( \[[\w/]+\])? \*?[>#]",  # ArubaOS
        rf"[<\[][~*]?{_NAME}[>\]]",  # VRP, Comware
        rf"{_NAME}(/(pri|sec|act|stby))*( ?\([^)]*\))* ?[>#$%]",  # IOS, NX-OS, EOS, ASA, FortiOS, FRR
    )
]
_BARE = re.compile(r"[>#$%]")
_SUFFIX = re.compile(r"-re\d$")  # Junos: which routing engine
_CUT = 20
"""Characters from which on a shorter name in a prompt is one that the device cut."""


@dataclass(frozen=True)
class Verdict:
    """`result`: ok, mismatch, silent, echo, garbled, loader or unknown."""

    result: str
    sentence: str
    host: str = ""


def judge(answer: bytes, device: str = "") -> Verdict:
    """Of all that came after a newline was sent; `device`: the name of whoever should be there, if that is known."""
    if not answer:
        return Verdict("silent", "Nothing came back.")
    if (share := readable(answer)) < READABLE:
        sentence = f"What came back is no text ({share:.0%} of it can be read): speed or parity may be wrong."
        return Verdict("garbled", sentence)
    shown = _rows(answer)
    if not shown:
        return Verdict("echo", "Only the newline came back: nothing answers there but an echo.")
    last = shown[-1]
    if _LOADER.fullmatch(last):
        return Verdict("loader", f"It is in its boot loader ({last}).")
    host, what = _whose(shown)
    if host:
        return _compared(host, device)
    if what:
        return Verdict("ok", what)
    return Verdict("unknown", f"It answers, but in no prompt that is known: {last[:100]}")


def question(output: bytes) -> str:
    """What the output ends in, where a newline would answer it; empty where a newline does no harm."""
    shown = _rows(output)
    if output.endswith((b"\n", b"\r")) or not shown:
        return ""
    last = shown[-1]
    host, _ = _whose([last])
    return last[:100] if not host and _QUESTION.fullmatch(last) else ""


def readable(answer: bytes) -> float:
    """The share of its bytes that is text."""
    text = answer.decode(errors="surrogateescape")
    bad = sum(1 for each in text if not (each.isprintable() or each in "\r\n\t\b\a\x1b\x0e\x0f"))
    return 1 - bad / len(answer) if answer else 0.0


def same(host: str, device: str) -> bool:
    """Whether a prompt's name is that of the device: without domain, in any case, perhaps cut."""
    found, wanted = _SUFFIX.sub("", host.lower()), device.lower()
    short = wanted if wanted.replace(".", "").isdigit() else wanted.partition(".")[0]
    if found in (wanted, short) or found.partition(".")[0] == short:
        return True
    return len(found) >= _CUT and wanted.startswith(found)


def _compared(host: str, device: str) -> Verdict:
    if not device:
        return Verdict("ok", f"{host} answers.", host)
    if same(host, device):
        return Verdict("ok", f"{host} answers, as it should.", host)
    return Verdict(
        "mismatch", f"{host} answers where {device} should: a cable, or the device in Set up, is wrong.", host
    )


def _whose(shown: list[str]) -> tuple[str, str]:
    """(the host's name, what it does): the name is empty where its prompt has none, both are where there is none."""
    for row in reversed(shown):
        if found := _LOGIN.fullmatch(row):
            return found["host"] or _banner(shown), "It asks who is there."
        for prompt in _PROMPTS:
            if found := prompt.fullmatch(row):
                return found["host"], ""
    last = shown[-1]
    if _PASSWORD.fullmatch(last):
        return "", "It asks for a password."
    if _PAGER.fullmatch(last):
        return "", "It answers; a pager waits for a key."
    if _BARE.fullmatch(last):
        return "", "It answers; its prompt has no host name."
    return "", ""


def _banner(shown: list[str]) -> str:
    """Of a login that does not name the host, but comes after a line that does."""
    for row in reversed(shown):
        if found := _BANNER.fullmatch(row):
            return found["host"] or found["issue"]
    return ""


def _rows(output: bytes) -> list[str]:
    """The last of those that are not empty, as a screen shows them. The device may be hostile: what it takes to look at
    them is bounded, and a longer one is no prompt."""
    lines = output[-KEPT:].split(b"\n")[-2 * LAST_ROWS :]
    shown = [row.strip()[-WIDTH:] for line in lines for row in rows(line) if row.strip()]
    return shown[-LAST_ROWS:]
