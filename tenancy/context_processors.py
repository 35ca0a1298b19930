"""What every page knows: the seat it is seen from, and the other teams of its user."""

from typing import Any

from django.http import HttpRequest

from tenancy.models import Seat
from tenancy.roles import CAPABILITIES


def team(request: HttpRequest) -> dict[str, Any]:
    seat: Seat | None = getattr(request, "seat", None)
    if seat is None:
        return {"seat": None, "seats": [], "may": frozenset()}
    return {"seat": seat, "seats": Seat.of_user(request.user.pk or 0), "may": CAPABILITIES[seat.role]}
