"""REST of console ports."""

from __future__ import annotations

from rest_framework import serializers

from consoles.models import ConsolePort
from consoles.services import port_update
from core.api.resource import Resource
from core.api.rows import Row


class ConsolePortRow(Row):
    tried = serializers.BooleanField(read_only=True, help_text="whether its agent ever said how it is")
    trouble = serializers.CharField(read_only=True, help_text="why it is not open; empty while it is")

    test_result = serializers.CharField(read_only=True, help_text="ok, or what the last test found; empty before it")
    test_sentence = serializers.CharField(read_only=True)
    test_at = serializers.DateTimeField(read_only=True)

    class Meta:
        model = ConsolePort
        fields = (
            "id", "url", "display", "name", "title", "agent", "device", "baud", "parity", "flow", "notes", "testing",
            "tried", "trouble", "test_result", "test_sentence", "test_at",
        )  # fmt: skip
        read_only_fields = ("name", "agent")
        brief = ("id", "url", "display", "name", "title")
        display = ("title", "name")


class ConsolePorts(Resource):
    """Serial consoles. Each is there from when its agent first tells of the port; PATCH sets it up."""

    row, plural = ConsolePortRow, "ports"
    reading = "console.read"
    search, ordering = ("name", "title"), ("name",)

    @staticmethod
    def update(row: ConsolePort, **values: object) -> ConsolePort:
        return port_update(port=row, **values)
