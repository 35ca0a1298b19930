"""Puts each request of a page or of the API into the scope of one team, before any view runs."""

import re
import secrets
from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from core.client import client_address
from core.scope import acting, team_scope
from tenancy.models import Seat
from tenancy.services import address_allowed, token_digest, token_used

_PAGE = re.compile(r"^/t/([^/]+)(?:/|$)")
_TOKEN = re.compile(r"^(?:Token|Bearer) ([0-9a-f]{12})\.([A-Za-z0-9_-]{20,60})$")
# What the APIs are, the same for everybody; pynetbox asks for its part without its token.
_OPEN = {"/api/schema/", "/api/docs/", "/netbox/api/", "/netbox/api/schema/"}
# Agents prove who they are by a signature (agents/doors.py).
_OPEN |= {f"/api/agents/{verb}/" for verb in ("enrol", "register", "heartbeat", "rotate")}
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


class TeamScopeMiddleware:
    """`/t/<team>/…` for members (404 for everyone else), `/api/…` and `/netbox/api/…` for tokens and
    sessions."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.seat = None  # type: ignore[attr-defined]
        given = request.headers.get("X-Request-ID", "")
        request.id = given if _REQUEST_ID.match(given) else secrets.token_hex(8)  # type: ignore[attr-defined]
        response = self._answer(request)
        response["X-Request-ID"] = request.id  # type: ignore[attr-defined]
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if page := _PAGE.match(request.path_info):
            return self._page(request, page[1])
        if request.path_info.startswith(("/api/", "/netbox/api/")) and request.path_info not in _OPEN:
            return self._api(request)
        return self.get_response(request)

    def _page(self, request: HttpRequest, slug: str) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        seats = [seat for seat in Seat.of_user(request.user.pk) if seat.slug == slug]
        return self._in_scope(request, seats[0] if seats else None)

    def _api(self, request: HttpRequest) -> HttpResponse:
        wanted = request.headers.get("X-Team")
        request.by_token = bool(header := request.headers.get("Authorization"))  # type: ignore[attr-defined]
        if header:
            match = _TOKEN.match(header)
            seat = Seat.of_token(match[1], token_digest(match[2])) if match else None
            if seat is None or not address_allowed(client_address(request), seat.networks):
                return _refuse(401, "This token is not known, has expired, or may not be used from here.")
            seats = [seat]
        elif request.user.is_authenticated:
            seats = Seat.of_user(request.user.pk)
        else:
            return _refuse(401, "Send a token in the header `Authorization: Token …`.")
        if wanted:
            seats = [seat for seat in seats if seat.slug == wanted]
        if len(seats) != 1:
            return _refuse(400, "Name one of your teams in the header X-Team.")
        return self._in_scope(request, seats[0])

    def _in_scope(self, request: HttpRequest, seat: Seat | None) -> HttpResponse:
        if seat is None:
            # Through the handler, so that a team that is not yours looks like one that does not exist.
            request.urlconf = "netops.urls_nobody"  # type: ignore[attr-defined]
            return self.get_response(request)
        request.seat = seat  # type: ignore[attr-defined]
        with acting(**_actor(request, seat)), team_scope(seat.team_id):
            if seat.token_id:
                token_used(token_id=seat.token_id)
            response = self.get_response(request)
            if response.status_code >= 500:
                transaction.set_rollback(True)
        # What may take long is done when the transaction is over: it would hold a connection.
        afterwards: Callable[[], HttpResponse] | None = getattr(response, "afterwards", None)
        return afterwards() if afterwards else response


def _actor(request: HttpRequest, seat: Seat) -> dict[str, Any]:
    """Who the audit trail names for what this request changes."""
    by_token = getattr(request, "by_token", False)
    return {
        "door": "page" if _PAGE.match(request.path_info) else "api",
        "user": seat.user_id,
        "name": None if by_token else request.user.get_username(),
        "token": seat.token_id,
        "token_name": seat.token_name or None,
        "request": request.id,  # type: ignore[attr-defined]
    }


def _refuse(status: int, detail: str) -> JsonResponse:
    response = JsonResponse({"detail": detail}, status=status)
    if status == 401:
        response["WWW-Authenticate"] = "Token"
    return response


def seat_of(request: HttpRequest) -> Seat:
    """The seat of a request that the middleware let through; 404 where there is none."""
    seat: Seat | None = getattr(request, "seat", None)
    if seat is None:
        raise Http404
    return seat
