"""REST of agents and of the tokens they enrol with. Where agents themselves knock: agents/doors.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.clones import agent_keep
from agents.enrolment import (
    agent_approve,
    agent_delete,
    agent_revoke,
    enrolment_token_create,
    enrolment_token_revoke,
    join_token,
)
from agents.legacy import endpoint, legacy_token_create, legacy_token_revoke
from agents.models import STATUSES, Agent, EnrolmentToken, LegacyToken
from agents.services import agent_create, agent_update
from core.api.filters import Filter
from core.api.resource import Resource
from core.api.rows import Row
from tenancy.middleware import seat_of
from tenancy.models import User


class AgentRow(Row):
    # DRF would ask the database whether it is unique, outside any scope (core/api/rows.py).
    public_key = serializers.CharField(max_length=64, help_text="ed25519, 32 bytes as hex")
    status = serializers.CharField(read_only=True, help_text=f"one of {', '.join(STATUSES)}, by the server's clock")
    expires = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="when it is dead unless it is heard again"
    )

    class Meta:
        model = Agent
        fields = (
            "id", "url", "display", "name", "public_key", "state", "status", "address", "maintenance", "online",
            "hostname", "serial", "model", "os", "software", "boot", "booted", "addresses", "interfaces", "ports",
            "first_seen", "last_seen", "registered", "expires", "holdtime_s", "interval_s", "tunnel_port",
        )  # fmt: skip
        read_only_fields = (
            "state", "online", "hostname", "serial", "model", "os", "software", "boot", "booted", "addresses",
            "interfaces", "ports", "first_seen", "last_seen", "registered", "tunnel_port",
        )  # fmt: skip
        extra_kwargs = {
            "address": {"required": False},
            "maintenance": {"required": False},
            "holdtime_s": {"required": False, "min_value": 10, "max_value": 604800},
            "interval_s": {"required": False, "min_value": 5, "max_value": 86400},
        }
        brief = ("id", "url", "display", "name")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance and attrs.pop("public_key", self.instance.public_key) != self.instance.public_key:
            raise serializers.ValidationError({"public_key": ["An agent asks for another key itself."]})
        return attrs


class Agents(Resource):
    """Agents in the field. POST enrols the holder of an ed25519 key; with a token agents do it themselves. DELETE cuts
    link and tunnel and forgets the agent, unless a campaign needs it."""

    row, plural = AgentRow, "agents"
    creating = deleting = "team.admin"
    search, ordering = ("name", "hostname", "serial"), ("name",)
    more_filters = {"status": Filter("status__in", "string"), "state": Filter("state__in", "string")}

    @classmethod
    def rows(cls) -> QuerySet[Any]:
        rows: QuerySet[Any] = Agent.objects.with_status()
        return rows

    @staticmethod
    def create(*, name: str, public_key: str, address: str | None = None, **values: Any) -> Agent:
        agent = agent_create(name=name, public_key=public_key, address=address)
        return agent_update(agent=agent, **values) if values else agent

    @staticmethod
    def update(row: Agent, **values: Any) -> Agent:
        return agent_update(agent=row, **values)

    @staticmethod
    def delete(row: Agent) -> None:
        agent_delete(agent=row)


def _maker(request: Request) -> User | None:
    return User.objects.filter(pk=seat_of(request).user_id or 0).first()


class EnrolmentTokenRow(Row):
    class Meta:
        model = EnrolmentToken
        fields = (
            "id", "url", "display", "name", "uses_left", "needs_approval", "expires", "created", "created_by",
        )  # fmt: skip
        read_only_fields = ("created", "created_by")
        extra_kwargs = {name: {"required": False} for name in ("uses_left", "needs_approval", "expires")}
        brief = ("id", "url", "display")


class EnrolmentTokens(Resource):
    """Tokens that machines enrol with. POST answers the whole token as `token`, this once; DELETE revokes."""

    row, plural = EnrolmentTokenRow, "enrolment-tokens"
    search, ordering = ("name",), ("-id",)
    reading = capability = "team.admin"
    takes_request = True

    @staticmethod
    def create(request: Request, **values: Any) -> EnrolmentToken:
        token, secret = enrolment_token_create(created_by=_maker(request), **values)
        token.shown_once = {"token": join_token(secret)}  # type: ignore[attr-defined]
        return token

    @staticmethod
    def delete(row: EnrolmentToken, **_: Request) -> None:
        enrolment_token_revoke(token=row)


class PiconTokenRow(Row):
    networks = serializers.ListField(child=serializers.CharField(max_length=50), required=False, max_length=50)

    class Meta:
        model = LegacyToken
        fields = ("id", "url", "display", "name", "networks", "created", "created_by", "last_used")
        read_only_fields = ("created", "created_by", "last_used")
        brief = ("id", "url", "display")


class PiconTokens(Resource):
    """Tokens that PiCon agents register with. POST answers their whole address as `endpoint`, this once; DELETE
    revokes."""

    row, plural = PiconTokenRow, "picon-tokens"
    search, ordering = ("name",), ("-id",)
    reading = capability = "team.admin"
    takes_request = True

    @staticmethod
    def create(request: Request, **values: Any) -> LegacyToken:
        token, secret = legacy_token_create(created_by=_maker(request), **values)
        token.shown_once = {"endpoint": endpoint(secret)}  # type: ignore[attr-defined]
        return token

    @staticmethod
    def delete(row: LegacyToken, **_: Request) -> None:
        legacy_token_revoke(token=row)


class AgentAction(APIView):
    """POST: what it does to one agent; answers the agent."""

    capability: ClassVar[str] = "team.admin"
    does: ClassVar[Callable[..., Agent]]

    @extend_schema(request=None, responses=AgentRow)
    def post(self, request: Request, pk: int) -> Response:
        agent = Agent.objects.filter(pk=pk).first()
        if agent is None:
            raise exceptions.NotFound(f"There is no agent {pk}.")
        type(self).does(agent=agent)
        return Response(Agents.shown([pk], request)[0])


class Approve(AgentAction):
    """POST lets an agent in that waits for approval: compare its fingerprint first."""

    does = staticmethod(agent_approve)


class Keep(AgentAction):
    """POST, where two machines have one key: the one that is connected takes another key, the other is put out."""

    does = staticmethod(agent_keep)


class Revoke(AgentAction):
    """POST puts an agent out for good: its link is cut within a second, its key is never let in again."""

    does = staticmethod(agent_revoke)
