"""DRF's view of what the middleware decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

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
        needed = "view" if request.method in SAFE_METHODS else getattr(view, "capability", "change")
        return can(seat_of(request).role, needed)
