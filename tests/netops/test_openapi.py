"""Schemathesis against our own OpenAPI document: what it promises is what the API does, for any input."""

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks

from core.api.schema import document
from core.scope import team_scope
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.rows import campaign_rows, lab_rows
from tests.ticketing.conftest import report

# The document gives shapes. Which values mean something (an id that exists, a host that may be reached) the services
# say, with 400 and the field's name; and DRF takes 0 for "0", as NetBox does.
JUDGED_ELSEWHERE: list[Any] = [checks.positive_data_acceptance, checks.negative_data_rejection]


def _document() -> dict[str, Any]:
    """The document; but for `make test-long` without the 150 filters of each list (tests/core/test_rest.py)."""
    found: dict[str, Any] = orjson.loads(document())
    for operations in found["paths"].values():
        if not LONG and "parameters" in operations.get("get", {}):
            operations["get"]["parameters"] = [
                each for each in operations["get"]["parameters"] if each["in"] == "path" or each["name"] in SHOWN
            ]
    return found


LONG = bool(os.environ.get("NETOPS_LONG"))
SHOWN = (
    "limit",
    "offset",
    "start",
    "ordering",
    "q",
    "fields",
    "omit",
    "brief",
    "name",
    "id",
    "hours",
    "source",
    "target",
)
config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": LONG}}})
api = schemathesis.openapi.from_dict(_document(), config=config)
api.app = get_wsgi_application()


@pytest.fixture(autouse=True)
def _one_transaction() -> Iterator[None]:
    """As Django's own test client does: a request must not give the connection of the test back."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def headers(team: Team, alice: User) -> dict[str, str]:
    """Of an owner, in a team that has something of most kinds."""
    with team_scope(team.pk):
        campaign_rows(lab_rows())
        report()
    return {"Authorization": f"Bearer {token_create(team=team, role='owner', user=alice)}"}


@api.parametrize()
@settings(
    max_examples=100 if LONG else 4,
    deadline=None,
    derandomize=not LONG,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_its_promise(case: schemathesis.Case[Any], headers: dict[str, str]) -> None:
    case.call_and_validate(headers=headers, excluded_checks=JUDGED_ELSEWHERE)
