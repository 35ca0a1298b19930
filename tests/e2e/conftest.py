"""One installation serves all tests of this folder; each leaves the lab healed and everything up."""

from collections.abc import Iterator

import pytest

from tests.installation import Installation


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid or item.nodeid.startswith("e2e/"):
            item.add_marker(pytest.mark.xdist_group("installation"))


@pytest.fixture(scope="session")
def running() -> Iterator[Installation]:
    with Installation() as installation:
        yield installation


@pytest.fixture
def netops(running: Installation) -> Iterator[Installation]:
    """The installation with everything up, before and after."""
    running.settle()
    yield running
    running.lab("heal")
    running.settle()
