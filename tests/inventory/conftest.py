"""A source of the red team, and rows for its inbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from inventory.models import TopologySource
from tenancy.models import Team

HANG = 150.0
"""Seconds after which a condition counts as never met: five times the goal of 30."""
T = TypeVar("T")


def wait_for(condition: Callable[[], T], hang: float = HANG) -> T:
    deadline = time.monotonic() + hang
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.05)
    return found


@pytest.fixture
def source(scope: Team) -> TopologySource:
    return TopologySource.objects.create(name="lab", host="127.0.0.1", port=179, run=1)
