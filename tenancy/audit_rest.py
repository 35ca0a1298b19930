"""REST of the audit trail: /api/tenancy/audit/, to be read only."""

from typing import ClassVar
from urllib.parse import urlencode

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api.views import DEFAULT_LIMIT, MAX_LIMIT, number
from core.scope import DOORS
from tenancy.audit_schema import PAGE
from tenancy.trail import ACTIONS, Wanted, entries

_FILTERS = tuple(Wanted.__dataclass_fields__)
_KNOWN = {*_FILTERS, "limit", "start", "format"}


class AuditView(APIView):
    """Who did what to which object, with before and after, the newest first. A list goes on at `start`, a key."""

    reading: ClassVar[str] = "team.admin"
    http_method_names = ["get", "head", "options"]

    @extend_schema(
        operation_id="tenancy_audit_list",
        parameters=[
            OpenApiParameter("limit", {"type": "integer", "minimum": 0}, description="0 for the most there may be"),
            OpenApiParameter("start", str, description="the key of an entry: the list goes on behind it"),
            OpenApiParameter("model", str, description="of what, as inventory.device"),
            OpenApiParameter("object", {"type": "integer", "minimum": 0}, description="its id; needs model"),
            OpenApiParameter("action", {"enum": list(ACTIONS)}, description="what was done"),
            OpenApiParameter("door", {"enum": list(DOORS)}, description="how it came in"),
            OpenApiParameter("who", str, description="a person, token, task or command by name"),
            OpenApiParameter("since", str, description="a time (UTC where it does not say) or a day"),
            OpenApiParameter("until", str, description="a time or a day; not included"),
            OpenApiParameter("q", str, description="text in any value"),
        ],
        responses={(200, "application/json"): PAGE},
    )
    def get(self, request: Request) -> Response:
        asked = {name: str(value) for name, value in request.query_params.items()}
        if unknown := sorted(set(asked) - _KNOWN):
            told = f"There is no such filter here: use {', '.join(_FILTERS)}."
            raise exceptions.ValidationError({name.replace("\0", ""): [told] for name in unknown})
        limit = min(number(asked, "limit", DEFAULT_LIMIT) or MAX_LIMIT, MAX_LIMIT)
        found = entries(Wanted.parse(asked), start=asked.get("start", ""), limit=limit + 1)
        following = None
        if len(found) > limit:
            query = urlencode({**asked, "limit": limit, "start": found[limit - 1].key})
            following = f"{request.build_absolute_uri(request.path)}?{query}"
        results = [entry.as_dict() for entry in found[:limit]]
        return Response({"count": None, "next": following, "previous": None, "results": results})
