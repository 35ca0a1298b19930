"""Template tags of the page shell: icons, states, times and sparklines, all without inline style or script."""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from django import template
from django.forms import BoundField, Select
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
# How far above the largest value a sparkline ends.
HEADROOM = 1.15
ICONS = Path(__file__).resolve().parent.parent / "static" / "vendor" / "icons"

# What a state looks like: the look (a colour class), an icon and a word, so that colour never stands alone.
STATES = {
    "up": ("up", "circle-check", "Up"),
    "degraded": ("degraded", "alert-triangle", "Degraded"),
    "down": ("down", "circle-x", "Down"),
    "unknown": ("unknown", "circle-dashed", "No data"),
    "unlearned": ("unknown", "circle-dashed", "Not learned"),
    "fault": ("down", "alert-circle", "Fault"),
    "open": ("down", "alert-circle", "Open"),
    "resolved": ("up", "circle-check", "Resolved"),
    "critical": ("down", "alert-circle", "Critical"),
    "warning": ("degraded", "alert-triangle", "Warning"),
    "waiting": ("unknown", "clock", "Waiting"),
    "syncing": ("unknown", "refresh", "Syncing"),
    "live": ("up", "broadcast", "Live"),
    "stale": ("degraded", "alert-triangle", "Stale"),
    "online": ("up", "plug-connected", "Online"),
    "offline": ("down", "plug-x", "Offline"),
    "late": ("degraded", "clock", "Late"),
    "revoked": ("unknown", "x", "Revoked"),
    "pending": ("unknown", "clock", "Waiting to be sent"),
    "done": ("up", "check", "Sent"),
    "dead": ("down", "x", "Refused"),
    "closed": ("up", "circle-check", "Closed"),
    "insert": ("up", "plus", "Made"),
    "update": ("unknown", "pencil", "Changed"),
    "delete": ("down", "trash", "Deleted"),
    "new": ("unknown", "clock", "New"),
    "on": ("up", "circle-check", "On"),
    "off": ("unknown", "circle-dashed", "Off"),
    "test-": ("unknown", "circle-dashed", "Not tested yet"),
    "test-ok": ("up", "circle-check", "Works"),
    "test-silent": ("down", "circle-x", "Silent"),
    "test-echo": ("down", "circle-x", "Only an echo"),
    "test-garbled": ("degraded", "alert-triangle", "No text"),
    "test-mismatch": ("degraded", "alert-triangle", "Another device"),
    "test-loader": ("degraded", "alert-triangle", "Boot loader"),
    "test-closed": ("down", "circle-x", "Not open"),
    "test-unknown": ("unknown", "circle-dashed", "No prompt"),
    "test-waits": ("unknown", "clock", "Put off"),
    "confirmed": ("up", "check", "Confirmed"),
    "unconfirmed": ("degraded", "alert-triangle", "Not confirmed"),
}


@cache
def _svg(name: str) -> str:
    try:
        text = (ICONS / f"{name}.svg").read_text()
    except OSError:
        raise LookupError(
            f"The icon {name!r} is missing: name it in netops/vendor.py, then run make install."
        ) from None
    inner = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    return re.sub(r"\s+", " ", inner.replace('<path stroke="none" d="M0 0h24v24H0z" fill="none" />', "")).strip()


@register.simple_tag
def control(field: BoundField, described_by: str = "") -> SafeString:
    """The input of a form's field, in the look of the page. `described_by`: the id of an error about the whole form."""
    look = "form-select" if isinstance(field.field.widget, Select) else "form-control"
    said = {"aria-invalid": "true", "aria-describedby": described_by} if described_by else {}
    return field.as_widget(attrs={"class": look, **said})


@register.filter
def browser(user_agent: str) -> str:
    """The name of a browser and its system, as far as its User-Agent tells."""
    names = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl", "python-requests")
    name = next((name for name in names if name in user_agent), "")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
    system = next((system for system in systems if system in user_agent), "")
    shown = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS"}
    return " on ".join(shown.get(each, each) for each in (name, system) if each) or "Some browser"


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """One Tabler icon as inline SVG. It is decoration: the text beside it says the same."""
    return format_html(
        '<svg class="icon {}" width="20" height="20" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
        ' stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        "{}</svg>",
        extra,
        mark_safe(_svg(name)),  # noqa: S308  (a file of ours)
    )


@register.simple_tag
def state(name: str | None, label: str = "") -> SafeString:
    """A state as icon and word."""
    look, symbol, word = STATES.get(name or "unknown", ("unknown", "circle-dashed", str(name)))
    return format_html('<span class="state state-{}">{}<span>{}</span></span>', look, icon(symbol), label or word)


@register.simple_tag
def ago(at: datetime | None, empty: str = "never") -> SafeString:
    """A time as its age; netops.js keeps it current, the title has the time itself (UTC)."""
    if at is None:
        return format_html('<span class="text-secondary">{}</span>', empty)
    return format_html(
        '<time datetime="{}" title="{} UTC" data-ago>{}</time>',
        at.isoformat(timespec="seconds"),
        f"{at:%Y-%m-%d %H:%M:%S}",
        age((timezone.now() - at).total_seconds()),
    )


def age(seconds: float) -> str:
    if seconds < 5:
        return "just now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


@register.simple_tag
def lasted(start: datetime, end: datetime) -> str:
    """A span of time by its two largest units."""
    seconds = max(0, int((end - start).total_seconds()))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"


@register.filter
def ms(microseconds: float | None) -> str:
    """Microseconds as milliseconds with three significant digits."""
    if microseconds is None:
        return "–"
    value = microseconds / 1000
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ms"


@register.filter
def percent(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} %" if 0 < value < 10 else f"{value:.0f} %"


@register.filter
def bandwidth(bytes_per_second: float | None) -> str:
    """Bytes a second (RFC 5305) as bits a second."""
    if bytes_per_second is None:
        return "–"
    bits = bytes_per_second * 8
    for size, unit in ((1e12, "Tbit/s"), (1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits >= size:
            return f"{bits / size:g} {unit}"
    return f"{bits:g} bit/s"


@register.simple_tag
def sparkline(values: Sequence[float | None], label: str, width: int = 120, height: int = 28) -> SafeString:
    """A line of `values` over time, gaps at None, scaled from 0 so that small jitter stays small."""
    known = [value for value in values if value is not None]
    if not known:
        return format_html('<span class="text-secondary spark-none">{}</span>', "no data yet")
    top = max(known) * HEADROOM or 1.0
    step = width / max(len(values) - 1, 1)
    pieces: list[list[str]] = []
    piece: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            pieces, piece = [*pieces, piece], []
        else:
            piece.append(f"{index * step:.1f},{height * (1 - value / top):.1f}")
    lines = [" ".join(each if len(each) > 1 else each * 2) for each in [*pieces, piece] if each]
    drawn = mark_safe("".join(f'<polyline points="{line}"/>' for line in lines))  # noqa: S308  (numbers only)
    return format_html(
        '<svg class="spark" role="img" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}"'
        ' preserveAspectRatio="none">{}</svg>',
        label, width, height, width, height, drawn,
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def current(context: template.Context, section: str) -> SafeString:
    """aria-current for the navigation entry of the page that is shown."""
    return format_html('aria-current="{}"', "page") if context.get("section") == section else SafeString("")
