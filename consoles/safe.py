"""What may pass from a device to a person's own terminal, which answers some of what it is shown as if it were typed.

Of ECMA-48 (5th edition) and of what xterm adds, only what draws is let through, from a list; all else is left out:
whatever asks (DA, DSR, DECRQM, DECRQSS, XTVERSION, reports of window and title, ENQ), whatever turns on reports (mouse,
focus, colours), the clipboard (OSC 52), printing, titles, images, and links that are not http(s). A string that does
not end ends with its line. The terminal is one of UTF-8: C1 controls have no meaning there, and do not get to others.
"""

from __future__ import annotations

import codecs
import re

STRING = 4096
"""Characters after which a string counts as ended."""
_PARAMETERS = 64
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f\udc80-\udc9f]+)"
    rf"|\x1b(?P<string>[P\]X^_])(?P<body>[^\x07\x18\x1a\x1b\n]{{0,{STRING}}})(?P<end>\x07|\x1b\\)?"
    rf"|\x1b\[(?P<csi>[\x20-\x3f]{{0,{_PARAMETERS}}})(?P<final>[\x40-\x7e])?"
    r"|\x1b(?P<escape>[\x20-\x2f]{0,2})(?P<last>[\x30-\x7e])?"
    r"|(?P<control>.)",
    re.DOTALL,
)
_CONTROLS = frozenset("\a\b\t\n\v\f\r\x0e\x0f")
_ESCAPES = re.compile(r"[78DEHMc=>]|[()*+][0-9A-Z]|#[34568]")
_CSI = re.compile(r"[0-9:;]*[@A-HJ-MPSTXZ`abdefgmrsu]|!p|[0-9]* q|\?[0-2]?[JK]")
_MODE = re.compile(r"(\??)([0-9;]*)([hl])")
_MODES = {
    "": {"4", "20"},
    "?": {"1", "3", "5", "6", "7", "8", "12", "25", "45", "47", "66", "1047", "1048", "1049", "2004", "2026"},
}
"""That may be set and reset; of the rest some report, some take the keyboard away."""
_LINK = re.compile(r"8;[\x20-\x3a\x3c-\x7e]*;(?:https?://[\x21-\x7e]+)?", re.IGNORECASE)


class Safe:
    """A filter for one stream; it does not matter how the stream is cut. Memory: one string."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._held = ""

    def feed(self, data: bytes) -> bytes:
        """What of it may be shown now; a sequence that has not ended yet waits for the rest of it."""
        text, self._held = self._held + self._decode(data), ""
        shown = []
        for token in _TOKEN.finditer(text):
            if _unfinished(token, text):
                self._held = text[token.start() :]
                break
            shown.append(_allowed(token))
        return "".join(shown).encode("utf-8", "surrogateescape")


def _unfinished(token: re.Match[str], text: str) -> bool:
    """Whether what comes next may belong to it."""
    if token["text"] or token["control"]:
        return False
    if token["string"] and not token["end"] and text[token.end() :] == "\x1b":
        return True
    return token.end() == len(text) and not (token["end"] or token["final"] or token["last"])


def _allowed(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "text":
            return token[0]
        case "end" if token["string"] == "]" and _LINK.fullmatch(token["body"]):
            return token[0]
        case "final":
            return _csi(token["csi"] + token["final"])
        case "last" if _ESCAPES.fullmatch(token["escape"] + token["last"]):
            return token[0]
        case "control" if token[0] in _CONTROLS:
            return token[0]
        case "control" if token[0] >= "\x80":
            return "?"
    return ""


def _csi(sequence: str) -> str:
    if mode := _MODE.fullmatch(sequence):
        prefix, numbers, final = mode.groups()
        kept = [number for number in numbers.split(";") if number in _MODES[prefix]]
        return f"\x1b[{prefix}{';'.join(kept)}{final}" if kept else ""
    return f"\x1b[{sequence}" if _CSI.fullmatch(sequence) else ""
