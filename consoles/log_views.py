"""The log of a port: its page, what the replay fetches, and files to keep. Nothing here leads to a device."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from consoles.history import Gap, History, when
from consoles.log_models import ConsoleTyped
from consoles.models import ConsolePort
from core.streaming import streamed
from tenancy.access import needs
from tenancy.middleware import seat_of

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "all": timedelta.max}
BARS, HEIGHT = 240, 40
PIECE = 128 << 10
CONTEXT = 48 << 10
"""Bytes before a place from which the screen is drawn that was seen there."""
MOST_GAPS = 12
MOST_TYPED = 100
_US = 1_000_000


@dataclass(frozen=True)
class Bar:
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Line:
    """A part of a log over time: `bars` of activity, `marks` where something is missing; times in microseconds."""

    span: str
    since: int
    until: int
    start: int
    end: int
    bars: list[Bar]
    marks: list[tuple[float, Gap]]

    @property
    def ticks(self) -> list[Any]:
        return [when(self.since + (self.until - self.since) * each // 4) for each in range(5)]

    @property
    def since_ms(self) -> int:
        return self.since // 1000

    @property
    def until_ms(self) -> int:
        return -(-self.until // 1000)

    @property
    def long(self) -> bool:
        return self.until - self.since > 86_400 * _US


@require_safe
@needs("console.read")
@never_cache
def log(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The page; `?offset=` is where it opens."""
    port, history = _asked(request, pk)
    context = {
        "section": "consoles", "port": port, "first": when(history.times.first), "last": when(history.times.last),
        "size": sum(each.size for each in history.segments), "line": _line(history, request),
        "place": _number(request, "offset", history.end) if "offset" in request.GET else "", "spans": [*SPANS],
        "typed": list(ConsoleTyped.objects.filter(port=port).select_related("user").order_by("-offset")[:MOST_TYPED]),
        "gaps": history.gaps[-MOST_GAPS:][::-1], "more_gaps": max(0, len(history.gaps) - MOST_GAPS),
    }  # fmt: skip
    return render(request, "consoles/log.html", context)


@require_safe
@needs("console.read")
@never_cache
def line(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The time line alone, of another `?span=`, around `?offset=`."""
    port, history = _asked(request, pk)
    return render(request, "consoles/_line.html", {"port": port, "line": _line(history, request)})


@require_safe
@needs("console.read")
@never_cache
def data(request: HttpRequest, slug: str, pk: int) -> JsonResponse:
    """A piece of the log from `?offset=`, or around the first byte that came at `?time=` (milliseconds) or later.

    {place: the offset asked for, offset: of the first byte of `data` (base64), times: [[offset, milliseconds]], end}.
    With `?context=1` it begins before the place, for the screen that was seen there.
    """
    _, history = _asked(request, pk)
    if "time" in request.GET:
        place = history.times.offset(_number(request, "time", 2**53) * 1000)
    else:
        place = min(_number(request, "offset", history.end), history.end)
    start = max(history.first, place - CONTEXT) if "context" in request.GET else place
    offset, found = next(history.pieces(start, history.end, PIECE), (history.end, b""))
    times = [[at, time // 1000] for at, time in history.times.between(offset, offset + len(found))]
    answer = {"place": place, "offset": offset, "times": times, "end": history.end, "first": history.first}
    return JsonResponse(answer | {"data": base64.b64encode(found).decode()})


@require_safe
@needs("console.read")
def saved(request: HttpRequest, slug: str, pk: int, shape: str) -> HttpResponseBase:
    """All of the log or the bytes from `?from=` to `?to=`: raw, as text, or as asciicast."""
    port, history = _asked(request, pk)
    end = min(history.end, _number(request, "to", history.end))
    start = max(history.first, _number(request, "from", history.first))
    shapes: dict[str, tuple[Callable[[], Iterator[str | bytes]], str, str]] = {
        "raw": (lambda: (each for _, each in history.pieces(start, end)), "application/octet-stream", "log"),
        "text": (lambda: history.text(start, end), "text/plain; charset=utf-8", "txt"),
        "cast": (lambda: history.cast(start, end, str(port)), "application/x-asciicast", "cast"),
    }
    if shape not in shapes:
        raise Http404
    pieces, content_type, ending = shapes[shape]
    name = slugify(str(port)) or f"console-{port.pk}"
    filename = f"{name}-{when(history.times.of(start)):%Y%m%d-%H%M%S}.{ending}"
    return streamed(seat_of(request).team_id, pieces, content_type=content_type, filename=filename)


def _asked(request: HttpRequest, pk: int) -> tuple[ConsolePort, History]:
    port = get_object_or_404(ConsolePort.objects.select_related("agent", "device"), pk=pk)
    return port, History(seat_of(request).team_id, port.pk)


def _number(request: HttpRequest, name: str, otherwise: int) -> int:
    """A number of the address; what is none, or beyond all offsets, counts as not given."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else otherwise


def _line(history: History, request: HttpRequest) -> Line:
    first, last = history.times.first, history.times.last
    span = request.GET.get("span", "")
    if span not in SPANS:
        span = "all" if last - first <= 86_400 * _US else "day"
    length = last - first if span == "all" else min(last - first, int(SPANS[span].total_seconds()) * _US)
    middle = history.times.of(_number(request, "offset", history.end))
    since = max(first, min(middle - length // 2, last - length))
    until = since + length
    counts = history.activity(since, until, BARS)
    most = math.log2(1 + max(counts, default=0)) or 1
    heights = [(x, HEIGHT * (0.1 + 0.9 * math.log2(1 + count) / most)) for x, count in enumerate(counts) if count]
    marks = [
        (BARS * (gap.time - since) / max(1, length), gap) for gap in history.gaps if since <= gap.time <= until
    ]  # fmt: skip
    return Line(
        span, since, until, history.times.offset(since), history.times.offset(until + 1),
        [Bar(x, round(HEIGHT - height, 1), round(height, 1)) for x, height in heights], marks,
    )  # fmt: skip
