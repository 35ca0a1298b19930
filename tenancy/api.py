"""DRF's view of what the middleware decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core.rate import seconds_to_wait
from tenancy.middleware import seat_of
from tenancy.roles import can

if TYPE_CHECKING:
    # DRF imports this module while it is being imported itself.
    from rest_framework.views import APIView


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        seat = getattr(request, "seat", None)
        return (seat, "token") if seat and getattr(request, "by_token", False) else None

    def authenticate_header(self, request: Request) -> str:
        return "Token"


class SessionAuthentication(DRFSessionAuthentication):
    """Session users, with the CSRF check that tokens do not need."""


class TeamPermission(BasePermission):
    """Reading needs `view`; writing needs the capability that the view names as `capability`, else `change`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = getattr(view, "reading", "view") if request.method in SAFE_METHODS else _capability(view)
        role = seat_of(request).role
        self.message = f"This needs {needed!r}, which the role {role} has not: ask an admin of the team."
        return can(role, needed)


def _capability(view: APIView) -> str:
    return getattr(view, "capability", "change")


class SeatThrottle(BaseThrottle):
    """`settings.API_RATE` requests a minute for each token, and for each user without one; 429 says when to go on."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        seat = seat_of(request)
        who = f"token.{seat.token_id}" if seat.token_id else f"user.{seat.user_id}"
        self.left_s = seconds_to_wait(who, settings.API_RATE)
        return not self.left_s

    def wait(self) -> float:
        return self.left_s
