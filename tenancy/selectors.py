"""What the pages of a team read."""

from typing import Any

from core.listing import as_rows
from tenancy.models import ApiToken, Invitation, Membership
from tenancy.roles import ROLES


def member_rows() -> list[dict[str, Any]]:
    """Members by role, owners first, then by name."""
    rows = as_rows(
        Membership.objects.order_by("user__username").values(
            "id", "role", "created", "user_id", "user__username", "user__email"
        )
    )
    return sorted(rows, key=lambda row: -ROLES.index(row["role"]))


def invitation_rows() -> list[dict[str, Any]]:
    return as_rows(
        Invitation.objects.order_by("email").values("id", "email", "role", "created", "expires", "invited_by__username")
    )


def token_rows() -> list[dict[str, Any]]:
    """The newest first. Nothing of the secret."""
    return as_rows(
        ApiToken.objects.order_by("-created", "-pk").values(
            "id", "name", "key", "role", "networks", "created", "expires", "last_used", "user__username"
        )
    )
