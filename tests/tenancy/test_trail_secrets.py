"""No secret that anybody enters or is given ever stands in the audit trail, in a log line or in an error."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.scope import team_scope
from inventory.services import source_create, source_update
from tenancy.models import ApiToken, Team, User
from tenancy.services import invitation_create, invitation_renew, token_create
from tenancy.trail import Wanted, all_entries, trails
from ticketing.services import desk_create, desk_update

# With a beginning that occurs nowhere by chance: Hypothesis likes the words of our own code.
secret = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60).map(
    lambda text: f"zQ7~{text}"
)


def everything() -> str:
    """Each event row of the team as PostgreSQL renders it, and the trail as it is read."""
    texts = [str(entry.as_dict()) for piece in all_entries(Wanted()) for entry in piece]
    with connection.cursor() as cursor:
        for event in trails().values():
            cursor.execute(f'SELECT e::text, to_jsonb(e)::text FROM "{event._meta.db_table}" e')
            texts += [text for row in cursor.fetchall() for text in row]
    return "\n".join(texts)


def enter(text: str, team: Team, alice: User) -> list[str]:
    """Put `text` wherever a secret may be entered; all secrets that came of it."""
    settings_: dict[str, Any] = {
        "host": "127.0.0.1", "port": 25, "sender": "a@example.org", "to": ["b@example.org"], "security": "starttls",
        "username": "u", "password": text,
    }  # fmt: skip
    desk = desk_create(name="noc", driver="email", settings=settings_)
    desk_update(desk=desk, settings={**settings_, "password": f"{text}2"})
    source = source_create(name="r", host="127.0.0.1", password=text)
    source_update(source=source, password=f"{text}2", name="renamed")
    with pytest.raises(ValidationError) as raised:
        source_update(source=source, password=f"{text}ü")
    assert text not in str(raised.value)
    given_out = [token_create(team=team, role="viewer", user=alice).partition(".")[2]]
    given_out.append(invitation_create(team=team, email="new@example.org", role="viewer", invited_by=alice))
    from tenancy.models import Invitation

    given_out.append(invitation_renew(team=team, pk=Invitation.objects.get().pk)[1])
    stored = list(ApiToken.objects.values_list("digest", flat=True))
    stored += list(Invitation.objects.values_list("digest", flat=True))
    for row in (desk, source, *ApiToken.objects.all(), *Invitation.objects.all()):
        row.delete()
    return [text, *given_out, *stored]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret)
@example("'\"--;DROP TABLE\\x")
def test_no_secret_stands_in_the_trail_or_in_a_log(
    team: Team, alice: User, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.clear()
    with transaction.atomic(), team_scope(team.pk):
        secrets = enter(text, team, alice)
        told = everything()
        transaction.set_rollback(True)
    assert "renamed" in told
    assert "new@example.org" in told
    for each in secrets:
        # Also as PostgreSQL and JSON quote it.
        for quoted in {each, json.dumps(each)[1:-1], repr(each)[1:-1]}:
            assert quoted not in told
            assert quoted not in caplog.text


def test_no_tracked_field_is_a_secret() -> None:
    names = {each.name for event in trails().values() for each in event._meta.fields}
    assert not names & {"password", "secrets", "digest", "secret", "planned", "lines"}
