"""The ASGI application of the `web` role: pages and REST under WSGI threads, events for open pages on sockets."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netops.settings")
get_asgi_application()

from a2wsgi import WSGIMiddleware  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from tenancy.consumers import TeamEvents  # noqa: E402

sockets = URLRouter([path("ws/t/<slug:slug>/events", TeamEvents.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": WSGIMiddleware(get_wsgi_application(), workers=8),  # type: ignore[arg-type]
        "websocket": AllowedHostsOriginValidator(SessionMiddlewareStack(sockets)),
    }
)
