"""Every write on what a team wants of its consoles' logs."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from consoles.log_models import ConsoleCursor, ConsoleLogSettings
from core import outbound


def log_settings_get() -> ConsoleLogSettings:
    """The team's, which may not be stored yet."""
    return ConsoleLogSettings.objects.first() or ConsoleLogSettings()


def log_settings_update(*, settings: ConsoleLogSettings, **values: Any) -> ConsoleLogSettings:
    """Change syslog_host (empty: nothing is forwarded), syslog_port, syslog_protocol, record_typed.

    Another target gets what is said from now on. Raises ValidationError naming the field.
    """
    assert set(values) <= {"syslog_host", "syslog_port", "syslog_protocol", "record_typed"}
    target = settings.syslog_host, settings.syslog_port, settings.syslog_protocol
    for name, value in values.items():
        setattr(settings, name, value)
    settings.clean_fields(exclude=["team", "lease_until", "again"])
    if settings.syslog_host:
        outbound.resolve(settings.syslog_host, settings.syslog_port, "syslog_host")
    if (settings.syslog_host, settings.syslog_port, settings.syslog_protocol) != target:
        ConsoleCursor.objects.update(sent=F("taken"))
        settings.trouble, settings.again = "", None
    settings.save()
    return settings
