"""How a page of a team asks what its visitor may do."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tenancy.middleware import seat_of
from tenancy.roles import can

P = ParamSpec("P")
Answer = TypeVar("Answer", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], Answer]


def needs(capability: str) -> Callable[[View[P, Answer]], View[P, Answer]]:
    """The view is for members whose role has `capability`; 403 for others."""

    def decorate(view: View[P, Answer]) -> View[P, Answer]:
        @wraps(view)
        def asked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            if not can(seat_of(request).role, capability):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return asked

    return decorate
