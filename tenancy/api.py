"""DRF's view of what the middleware decided."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis
from django.conf import settings
from django.core.cache import cache
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

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
    """`settings.API_RATE` requests a minute for each token, and for each user without one; 429 says when to go on.

    Counted by the minute in Valkey, over all web processes; while that is away nobody is held up.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        seat = seat_of(request)
        minute, self.passed_s = divmod(time.time(), 60)
        who = f"token.{seat.token_id}" if seat.token_id else f"user.{seat.user_id}"
        key = f"rate.{who}.{int(minute)}"
        try:
            cache.add(key, 0, 120)
            return cache.incr(key) <= settings.API_RATE
        except (redis.RedisError, ValueError):
            return True

    def wait(self) -> float:
        return 60 - self.passed_s
