"""Small text helpers."""

import re
from datetime import UTC, datetime, time

from django.utils.dateparse import parse_date, parse_datetime


def natural_key(name: str) -> str:
    """A key that sorts R2 before R10 in plain byte order, for databases without ICU: digits are padded to ten."""
    return re.sub(r"\d+", lambda digits: digits[0].rjust(10, "0"), name.casefold())[:255]


def moment(text: str) -> datetime:
    """A time (UTC where it does not say), or a day, which begins at midnight; ValueError says what to give.

    In UTC whatever its zone was: Python knows offsets of a whole day, PostgreSQL refuses those over 15:59.
    """
    try:
        at = parse_datetime(text)
        if at is None and (day := parse_date(text)):
            at = datetime.combine(day, time())
        if at:
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a time as 2026-01-31T08:00 (UTC) or a day as 2026-01-31")
