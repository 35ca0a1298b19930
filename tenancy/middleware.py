"""Puts each request of a page or of the API into the scope of one team, before any view runs."""

import re
from collections.abc import Callable

from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from core.client import client_address
from core.scope import team_scope
from tenancy.models import Seat
from tenancy.services import address_allowed, token_digest, token_used

_PAGE = re.compile(r"^/t/([^/]+)(?:/|$)")
_TOKEN = re.compile(r"^(?:Token|Bearer) ([0-9a-f]{12})\.([A-Za-z0-9_-]{20,60})$")


class TeamScopeMiddleware:
    """`/t/<team>/…` for members (404 for everyone else), `/api/…` for tokens and sessions."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.seat = None  # type: ignore[attr-defined]
        if page := _PAGE.match(request.path_info):
            return self._page(request, page[1])
        if request.path_info.startswith("/api/"):
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
        with team_scope(seat.team_id):
            if seat.token_id:
                token_used(token_id=seat.token_id)
            response = self.get_response(request)
            if response.status_code >= 500:
                transaction.set_rollback(True)
            return response


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
