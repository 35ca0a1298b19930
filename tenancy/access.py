"""How a page of a team asks what its visitor may do."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from tenancy.middleware import seat_of
from tenancy.roles import can

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def needs(capability: str) -> Callable[[View[P]], View[P]]:
    """The view is for members whose role has `capability`; 403 for others."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def asked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not can(seat_of(request).role, capability):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return asked

    return decorate
