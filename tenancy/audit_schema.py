"""What an answer of /api/tenancy/audit/ looks like, as OpenAPI."""

from typing import Any

from tenancy.trail import ACTIONS

_TEXT, _NUMBER = {"type": "string"}, {"type": ["integer", "null"]}
_ENTRY: dict[str, Any] = {
    "key": {**_TEXT, "description": "its place in the trail"},
    "at": {"type": "string", "format": "date-time"},
    "who": {**_TEXT, "description": "a person, token, task or command by name"},
    "door": {**_TEXT, "description": "page, api, admin, task, command, agent, ssh; empty for none of these"},
    "user": _NUMBER,
    "token": _NUMBER,
    "token_name": _TEXT,
    "request": {**_TEXT, "description": "what the answer to the request carried as X-Request-ID"},
    "action": {"enum": list(ACTIONS)},
    "model": _TEXT,
    "object": {"type": "integer"},
    "title": _TEXT,
    "changes": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"field": _TEXT, "before": {}, "after": {}},
            "required": ["field", "before", "after"],
        },
    },
}
PAGE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "count": {"type": "null", "description": "a trail is not counted"},
        "next": {"type": ["string", "null"]},
        "previous": {"type": "null"},
        "results": {
            "type": "array",
            "items": {"type": "object", "properties": _ENTRY, "required": sorted(_ENTRY)},
        },
    },
    "required": ["count", "next", "previous", "results"],
}
