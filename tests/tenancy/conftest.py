"""Sign-in is throttled: each test starts with nobody having tried."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def _nobody_tried(valkey: str) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()
