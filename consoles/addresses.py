"""Where the gateway's consoles are reached."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest


def outer_url(request: HttpRequest) -> str:
    """For whoever asks: as configured, else through the proxy they came by, else at the gateway's port."""
    if settings.CONSOLE_URL:
        return str(settings.CONSOLE_URL)
    if request.is_secure():
        return f"wss://{request.get_host()}"
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.CONSOLE_PORT}"
