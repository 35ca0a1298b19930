"""Roles and what each may do: the one table that every edge asks by name."""

ROLES = ("viewer", "operator", "admin", "owner")

_VIEWER = frozenset({"view", "console.read"})
_OPERATOR = _VIEWER | {"probe.run", "console.write", "ticket.manage"}
_ADMIN = _OPERATOR | {"change", "console.takeover", "team.admin"}
CAPABILITIES: dict[str, frozenset[str]] = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "admin": _ADMIN,
    "owner": _ADMIN,
}


def can(role: str, capability: str) -> bool:
    """Whether `role` has `capability`; an unknown name is a programming error and raises ValueError."""
    if capability not in _ADMIN:
        raise ValueError(f"unknown capability {capability!r}")
    return capability in CAPABILITIES.get(role, frozenset())
