"""Rows of every team table, made from the models themselves, so that no test can forget a table."""

from __future__ import annotations

import itertools
import secrets
import struct
from datetime import timedelta
from typing import Any

from django.db import connection, models
from django.utils import timezone

from core.scope import team_scope
from core.secrets import SecretField
from netops.walls import team_models
from tenancy.models import Team, TeamModel, User

_numbers = itertools.count(1)


class Rows:
    """What a team owns; `marker` stands in each of its texts. `all()` makes one row more of every team model."""

    def __init__(self, team: Team, marker: str) -> None:
        self.team, self.marker = team, marker
        self.made: dict[Any, Any] = {}

    def all(self) -> Rows:
        with team_scope(self.team.pk):
            self.made = {}
            name = f"{self.marker}-{next(_numbers)}"
            self.person = User.objects.create(username=name, email=f"{name}@example.org")
            for model in team_models():
                self._one(model)
        return self

    def __getitem__(self, model: Any) -> Any:
        return self.made[model]

    def make(self, model: type[TeamModel], **values: Any) -> Any:
        """One row; what `values` leaves out is made up, foreign keys included. The team must be in scope."""
        given = {**self._sensible(model), **values}
        for field in model._meta.concrete_fields:
            made_up = not field.generated and not field.primary_key and field.name != "team"
            if made_up and not {field.name, field.attname} & set(given):
                given[field.name] = self._value(field)
        return model.objects.create(team=self.team, **given)

    def _one(self, model: type[TeamModel]) -> Any:
        if model not in self.made:
            once = [each for each in model._meta.total_unique_constraints if each.fields == ("team",)]
            self.made[model] = (model.objects.first() if once else None) or self.make(model)
        return self.made[model]

    def _value(self, field: models.Field[Any, Any]) -> Any:
        if isinstance(field, models.ForeignKey):
            target = field.related_model
            if target is User:
                return self.person
            assert isinstance(target, type)
            assert issubclass(target, TeamModel)
            return self._one(target)
        number, text = next(_numbers), self.marker
        if field.choices:
            return field.get_default() or next(iter(field.choices))[0]
        match field:
            case SecretField() | models.JSONField():
                return [text] if field.get_default() == [] else {"note": text}
            case models.EmailField():
                return f"{text}{number}@example.org"
            case models.GenericIPAddressField():
                return f"198.51.{100 + number // 250 % 100}.{number % 250}"
            case models.CharField() | models.TextField():
                return f"{text}-{number}"[-(field.max_length or 1000) :]
            case models.DateTimeField() | models.DateField():
                return timezone.now()
            case models.BinaryField():
                return b""
            case _ if field.has_default():
                return field.get_default()
            case _:
                return number

    def _sensible(self, model: type[TeamModel]) -> dict[str, Any]:
        """Where a made-up value would mean nothing to the code that reads it."""
        from inventory.models import HalfLink, Link

        match model._meta.label:
            case "ticketing.Desk":
                return {"driver": "email", "settings": {"to": f"{self.marker}@example.org"}}
            case "ticketing.Incident":
                evidence = {"reason": self.marker, "paths": [{"text": self.marker, "state": "down"}]}
                cause = {"title": self.marker, "reason": self.marker, "severity": "critical", "since": "2026-01-01"}
                return {
                    "kind": "link", "element": f"link:{self._one(Link).pk}", "causes": {self.marker: cause},
                    "evidence": {self.marker: evidence}, "resolved": None,
                }  # fmt: skip
            case "probing.Path":
                walk = [self._one(HalfLink).pk]
                return {"out": walk, "back": walk, "state": "up", "detector": {}}
            case "probing.Campaign":
                return {"verdict": {}, "planned_version": 1}
            case "probing.PathMinute":
                minute = timezone.now().replace(second=0, microsecond=0)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT netops_partition_ensure(%s)", [minute.date()])
                return {"minute": minute, "sent": 2, "received": 2, "rtts": struct.pack("<2e", 0.5, 0.5)}
            case "inventory.InventoryImport":
                return {"kind": "devices", "result": {}}
            case "inventory.Prefix":
                return {"prefix": "198.51.100.0/24"}
            case "consoles.ConsoleFar":
                return {"number": 2001, "secret": self.marker}
            case "tenancy.ApiToken":
                return {"networks": [], "expires": None}
            case "agents.Agent":
                marker, key = self.marker, secrets.token_hex(32)
                interface = {"name": "eth0", "up": True, "mac": "", "addresses": ["198.51.100.7"]}
                port = {"name": marker, "device": marker, "serial": marker, "description": marker}
                return {"public_key": key, "interfaces": [interface], "ports": [port], "online": True}
            case "agents.EnrolmentToken":
                return {"expires": timezone.now() + timedelta(hours=1)}
            case "agents.LegacyToken":
                return {"networks": []}
            case _:
                return {}
