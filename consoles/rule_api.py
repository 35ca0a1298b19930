"""REST of rules on console output."""

from __future__ import annotations

from typing import Any

from consoles.models import ConsoleRule
from consoles.rules import rule_create, rule_delete, rule_update
from core.api.resource import Resource
from core.api.rows import Row


class ConsoleRuleRow(Row):
    class Meta:
        model = ConsoleRule
        fields = ("id", "url", "display", "name", "pattern", "severity", "only", "hold_s", "enabled", "pack")
        read_only_fields = ("pack",)
        brief = ("id", "url", "display", "name")


class ConsoleRules(Resource):
    """Rules: a line of console output that matches `pattern` (RE2) opens an incident, which resolves after `hold_s`
    seconds without another. `only` is a shell pattern on device, title or name of the port; empty: all ports."""

    row, plural = ConsoleRuleRow, "rules"
    reading = "console.read"
    search, ordering = ("name", "pattern"), ("name",)

    @staticmethod
    def create(**values: Any) -> ConsoleRule:
        return rule_create(**values)

    @staticmethod
    def update(row: ConsoleRule, **values: Any) -> ConsoleRule:
        return rule_update(rule=row, **values)

    @staticmethod
    def delete(row: ConsoleRule) -> None:
        rule_delete(rule=row)
