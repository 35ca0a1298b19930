"""`/metrics` for Prometheus: the installation in numbers, for whoever runs it; no team is named in it."""

import hmac
import threading
import time
from bisect import bisect_left
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DOORS = {"t": "page", "api": "api", "netbox": "netbox", "admin": "admin", "static": "static"}


class Times:
    """How long requests took, by door and class of status: (a count for each of BOUNDS_S and one above, their sum)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], tuple[list[int], float]] = {}

    def add(self, door: str, status: int, seconds: float) -> None:
        key = door, f"{status // 100}xx"
        with self._lock:
            counts, total = self._seen.get(key) or ([0] * (len(BOUNDS_S) + 1), 0.0)
            counts[bisect_left(BOUNDS_S, seconds)] += 1
            self._seen[key] = counts, total + seconds

    def seen(self) -> list[tuple[tuple[str, str], tuple[list[int], float]]]:
        with self._lock:
            return [(key, (list(counts), total)) for key, (counts, total) in sorted(self._seen.items())]


times = Times()


class RequestTimes:
    """The outermost middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        door = _DOORS.get(request.path_info.lstrip("/").partition("/")[0], "other")
        times.add(door, response.status_code, time.perf_counter() - began)
        return response


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Asks for `Authorization: Bearer` with the operator's token (`manage.py metricstoken`)."""
    given = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode()):
        text = (
            "Send the operator's token in the header `Authorization: Bearer …`; `manage.py metricstoken` prints it.\n"
        )
        headers = {"WWW-Authenticate": "Bearer"}
        return HttpResponse(text, status=401, content_type="text/plain; charset=utf-8", headers=headers)
    from netops.exposition import exposition

    body, content_type = exposition(request.headers.get("Accept", ""), times)
    return HttpResponse(body, content_type=content_type)
