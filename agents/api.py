"""REST of agents."""

from typing import Any

from django.db import models

from agents.models import Agent
from core.api import ListView


class AgentList(ListView):
    fields = {
        name: name
        for name in (
            "id",
            "name",
            "public_key",
            "address",
            "online",
            "hostname",
            "software",
            "addresses",
            "first_seen",
            "last_seen",
        )
    }
    search = ("name", "hostname")
    filters = {"online": "online", "name": "name"}
    ordering = ("name", "last_seen", "id")

    def get_queryset(self) -> models.QuerySet[Any]:
        agents: models.QuerySet[Any] = Agent.objects.all()
        return agents
