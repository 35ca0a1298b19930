"""REST of agents."""

from typing import Any

from rest_framework import serializers

from agents.models import Agent
from agents.services import agent_create
from core.api.resource import Resource
from core.api.rows import Row


class AgentRow(Row):
    # DRF would ask the database whether it is unique, outside any scope (core/api/rows.py).
    public_key = serializers.CharField(max_length=64, help_text="ed25519, 32 bytes as hex")

    class Meta:
        model = Agent
        fields = (
            "id", "url", "display", "name", "public_key", "address", "online", "hostname", "software", "addresses",
            "first_seen", "last_seen",
        )  # fmt: skip
        read_only_fields = ("online", "hostname", "software", "addresses", "first_seen", "last_seen")
        extra_kwargs = {"address": {"required": False}}
        brief = ("id", "url", "display", "name")


class Agents(Resource):
    """Agents in the field. POST enrols the holder of an ed25519 key."""

    row, plural = AgentRow, "agents"
    search, ordering = ("name", "hostname"), ("name",)

    @staticmethod
    def create(**values: Any) -> Agent:
        return agent_create(**values)
