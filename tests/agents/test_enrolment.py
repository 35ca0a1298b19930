"""Who is let in, and who is put out."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from agents.enrolment import (
    TOKEN_GONE,
    agent_approve,
    agent_enrol,
    agent_key_rotate,
    agent_revoke,
    enrolment_token_create,
    enrolment_token_revoke,
)
from agents.models import Agent, EnrolmentToken, agent_of_key
from agents.services import KEY_TAKEN, agent_create, links_beat
from core.scope import team_scope
from pi_agent.enrolment import fingerprint, rotate_message
from tenancy.models import Team
from tenancy.trail import Wanted, entries
from tests.agents.machines import PORT, Machine, registration


def token(team: Team, **values: Any) -> str:
    with team_scope(team.pk):
        return enrolment_token_create(name="Sites", **values)[1]


def enrol(machine: Machine, secret: str, **values: Any) -> Agent:
    return agent_enrol(**machine.proof(secret), registration=registration(**values))


def refusal(machine: Machine, secret: str) -> Any:
    with pytest.raises(ValidationError) as caught:
        enrol(machine, secret)
    return caught.value.message_dict


def test_a_token_lets_one_machine_in_and_knows_what_it_says(team: Team) -> None:
    machine = Machine()
    agent = enrol(machine, token(team))
    with team_scope(team.pk):
        row = Agent.objects.get()
        assert EnrolmentToken.objects.get().uses_left == 0
    assert (row.pk, row.state, row.name, row.serial, row.model) == (
        agent.pk, "enrolled", "pi4", "10000000abcdef", "Raspberry Pi 4",
    )  # fmt: skip
    assert [port["name"] for port in row.ports] == [PORT.name]
    assert row.interfaces[1] == {"name": "lo", "up": False, "mac": "", "addresses": []}
    assert row.fingerprint == fingerprint(machine.identity.public)
    assert agent_of_key(machine.key) == (team.pk, agent.pk)


def test_unknown_spent_expired_and_revoked_tokens_are_refused_alike(team: Team) -> None:
    spent, over, revoked = token(team), token(team), token(team)
    enrol(Machine(), spent)
    with team_scope(team.pk):
        rows = EnrolmentToken.objects.order_by("pk")
        rows.filter(pk=rows[1].pk).update(expires=timezone.now())
        enrolment_token_revoke(token=rows[2])
    for secret in (spent, over, revoked, "0" * 32, ""):
        assert refusal(Machine(), secret) == {"token": [TOKEN_GONE]}


def test_a_signature_of_another_key_or_token_is_refused_whatever_the_token(team: Team) -> None:
    secret, machine = token(team), Machine()
    for known in (secret, "0" * 32):
        proof = machine.proof(known) | {"signature": Machine().proof(known)["signature"]}
        with pytest.raises(ValidationError) as caught:
            agent_enrol(**proof, registration=registration())
        assert list(caught.value.message_dict) == ["signature"]
    with team_scope(team.pk):
        assert EnrolmentToken.objects.get().uses_left == 1


def test_an_answer_that_got_lost_can_be_asked_for_again(team: Team) -> None:
    secret, machine = token(team), Machine()
    assert enrol(machine, secret).pk == enrol(machine, secret).pk
    assert refusal(Machine(), secret) == {"token": [TOKEN_GONE]}


def test_a_key_is_of_one_agent_over_all_teams_and_nothing_is_spent(team: Team, other_team: Team) -> None:
    machine = Machine()
    enrol(machine, token(other_team))
    secret = token(team)
    assert refusal(machine, secret) == {"key": [KEY_TAKEN]}
    with team_scope(team.pk):
        assert EnrolmentToken.objects.get().uses_left == 1
        with pytest.raises(ValidationError, match="make a new one"):
            agent_create(name="mine", public_key=machine.key)
        assert not Agent.objects.exists()


def test_two_machines_at_once_spend_one_use_once(transactional_db: None) -> None:
    from tenancy.services import team_create

    team = team_create(slug="red", name="Red team")
    secret, done = token(team), []

    def work() -> None:
        try:
            done.append(enrol(Machine(), secret).name)
        except ValidationError as error:
            done.append(error.messages[0])
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(done) == sorted(["pi4", *[TOKEN_GONE] * 3])


def test_machines_of_one_name_with_tokens_of_their_own_at_once_are_all_let_in(transactional_db: None) -> None:
    from tenancy.services import team_create

    team = team_create(slug="red", name="Red team")
    secrets, done, gate = [token(team) for _ in range(8)], [], threading.Barrier(8)

    def work(secret: str) -> None:
        try:
            gate.wait(30)
            done.append(enrol(Machine(), secret).name)
        except Exception as error:
            done.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(each,)) for each in secrets]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(done) == ["pi4", *(f"pi4-{number}" for number in range(2, 9))]


def test_several_uses_give_each_its_own_name(team: Team) -> None:
    secret = token(team, uses_left=3)
    names = [enrol(Machine(), secret, hostname=name).name for name in ("pi", "pi", "pi")]
    assert names == ["pi", "pi-2", "pi-3"]


def test_where_approval_is_needed_an_agent_waits(team: Team) -> None:
    machine = Machine()
    agent = enrol(machine, token(team, needs_approval=True))
    assert (agent.state, agent_of_key(machine.key)) == ("waiting", None)
    with team_scope(team.pk):
        assert Agent.objects.with_status().get().status == "waiting"
        agent_approve(agent=agent)
        assert agent_of_key(machine.key) == (team.pk, agent.pk)
        with pytest.raises(ValidationError, match="does not wait"):
            agent_approve(agent=agent)


def test_revoking_tells_the_gateway_and_outdates_the_link(
    team: Team, valkey: None, django_capture_on_commit_callbacks: Any
) -> None:
    machine = Machine()
    agent = enrol(machine, token(team))
    with team_scope(team.pk):
        Agent.objects.update(online=True, epoch=4)

    async def heard() -> Any:
        layer = get_channel_layer()
        assert layer is not None
        channel = await layer.new_channel()
        await layer.group_add(f"agent.{agent.pk}", channel)
        await asyncio.to_thread(lambda: [call() for call in calls])
        async with asyncio.timeout(10):
            return await layer.receive(channel)

    with django_capture_on_commit_callbacks() as calls, team_scope(team.pk):
        revoked = agent_revoke(agent=agent)
        assert links_beat(epochs={agent.pk: 4}) == {agent.pk}
    assert (revoked.state, revoked.online) == ("revoked", False)
    assert agent_of_key(machine.key) is None
    assert asyncio.run(heard()) == {"type": "revoked"}
    assert refusal(machine, token(team)) == {"key": [KEY_TAKEN]}


def test_a_key_is_rotated_by_who_holds_both(team: Team) -> None:
    machine, new = Machine(), Machine()
    agent = enrol(machine, token(team))
    message = rotate_message(machine.identity.public, new.identity.public)
    with team_scope(team.pk):
        with pytest.raises(ValidationError, match="new key over both"):
            agent_key_rotate(agent=agent, key=new.identity.public, signature=machine.identity.sign(message))
        agent_key_rotate(agent=agent, key=new.identity.public, signature=new.identity.sign(message))
    assert (agent_of_key(machine.key), agent_of_key(new.key)) == (None, (team.pk, agent.pk))


def test_neither_the_secret_nor_its_digest_is_kept_or_told(team: Team) -> None:
    secret = token(team)
    with team_scope(team.pk):
        row = EnrolmentToken.objects.get()
        told = str([(entry.changes, entry.context) for entry in entries(Wanted(), limit=50)])
    assert secret not in str(vars(row))
    assert secret not in told
    assert row.digest not in told


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"uses_left": 0}, "uses_left"),
        ({"uses_left": 10**6}, "uses_left"),
        ({"expires": timezone.now() - timedelta(hours=1)}, "expires"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_by_field(values: dict[str, Any], field: str, scope: Team) -> None:
    with pytest.raises(ValidationError) as caught:
        enrolment_token_create(name="x", **values)
    assert list(caught.value.message_dict) == [field]
