"""How machines are let in and put out: enrolment tokens, approval, revocation, new keys."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from agents.clones import clash_clear
from agents.hooks import needed_for, on_gone
from agents.models import Agent, AgentBoot, EnrolmentToken, enrolment_token_of, lock_names
from agents.nudges import group
from agents.services import KEY_TAKEN, agent_register, insert
from agents.tls import pin
from agents.watch import SOURCE
from core.live import publish, send_to
from core.scope import acting, current_team_id, team_scope
from pi_agent.enrolment import JoinToken, enrol_message, rotate_message
from pi_agent.identity import verify
from pi_agent.registration import Registration
from tenancy.models import User
from tenancy.services import token_digest
from ticketing.services import incident_clear

TOKEN_LIFE = timedelta(hours=24)
MAX_USES = 10_000
TOKEN_GONE = "This token is not known, is spent or has expired: ask for a new one."  # noqa: S105
NO_PROOF = "This signature was not made with the key over the token."


def enrolment_token_create(
    *,
    name: str,
    uses_left: int = 1,
    expires: datetime | None = None,
    needs_approval: bool = False,
    created_by: User | None = None,
) -> tuple[EnrolmentToken, str]:
    """A token and its secret (128 bits in hexadecimal), which is seen only this once; good for 24 h if not said."""
    now = timezone.now()
    secret = secrets.token_hex(16)
    token = EnrolmentToken(
        name=name.strip(),
        digest=token_digest(secret),
        uses_left=uses_left,
        expires=expires or now + TOKEN_LIFE,
        needs_approval=needs_approval,
        created_by=created_by,
    )
    if not 1 <= uses_left <= MAX_USES:
        raise ValidationError({"uses_left": f"Give a number from 1 to {MAX_USES}."})
    if token.expires <= now:
        raise ValidationError({"expires": "This time has passed: give one to come, or none."})
    token.clean_fields(exclude={"created_by"})
    token.save()
    publish(current_team_id(), "agents")
    return token, secret


def join_token(secret: str) -> str:
    """What is pasted on the machine: the secret, and the key by which it knows the gateway."""
    return str(JoinToken(secret, pin()))


def enrolment_token_revoke(*, token: EnrolmentToken) -> None:
    """Nobody enrols with it any more; agents that did stay."""
    token.delete()
    publish(current_team_id(), "agents")


def agent_enrol(*, secret: str, key: bytes, signature: bytes, registration: Registration) -> Agent:
    """The agent that holds `key`, for one use of the token; opens the scope of the token's team itself.

    Asked again with the same key, as after an answer that got lost, it gives the same agent and spends nothing.
    Raises ValidationError; of an unknown, spent or expired token it says one and the same sentence.
    """
    # First, so that it tells nothing of the token.
    if not verify(key, signature, enrol_message(secret, key)):
        raise ValidationError({"signature": NO_PROOF})
    found = enrolment_token_of(token_digest(secret))
    if found is None:
        raise ValidationError({"token": TOKEN_GONE})
    with acting(door="agent", name=f"enrolment of {registration.hostname}"), team_scope(found[0]):
        # Of two that spend the last use at once, the second waits here and finds none.
        token = EnrolmentToken.objects.select_for_update().filter(pk=found[1]).first()
        if token is None:
            raise ValidationError({"token": TOKEN_GONE})
        before: Agent | None = (
            Agent.objects.filter(public_key=key.hex(), token=token).exclude(state=Agent.State.REVOKED).first()
        )
        if before is not None:
            return before
        if not token.uses_left:
            raise ValidationError({"token": TOKEN_GONE})
        waiting = Agent.State.WAITING if token.needs_approval else Agent.State.ENROLLED
        agent = Agent(name=free_name(registration.hostname), public_key=key.hex(), state=waiting, token=token)
        agent.reported = timezone.now()
        insert(agent)
        agent_register(agent=agent, registration=registration)
        EnrolmentToken.objects.filter(pk=token.pk).update(uses_left=F("uses_left") - 1)
        return agent


def free_name(hostname: str) -> str:
    """The host name, with a number behind it if an agent of the team in scope has it already; it stays free until the
    transaction has ended."""
    lock_names(current_team_id())
    base = hostname[:54]
    taken = set(Agent.objects.filter(name__startswith=base).values_list("name", flat=True))
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


def agent_approve(*, agent: Agent) -> Agent:
    """Let an agent in that waits; who does it has compared the fingerprint."""
    if not Agent.objects.filter(pk=agent.pk, state=Agent.State.WAITING).update(state=Agent.State.ENROLLED):
        raise ValidationError({"state": "This agent does not wait for approval: reload the page."})
    agent.state = Agent.State.ENROLLED
    publish(current_team_id(), "agents")
    return agent


def agent_revoke(*, agent: Agent) -> Agent:
    """Put an agent out for good: its link and tunnel are cut, its key is never let in again."""
    if agent.state == Agent.State.REVOKED:
        raise ValidationError({"state": "This agent is revoked already: reload the page."})
    # Writes of its link fail from now on; the nudge has the gateway see that at once.
    Agent.objects.filter(pk=agent.pk).update(
        state=Agent.State.REVOKED, online=False, epoch=F("epoch") + 1, tunnel_port=None
    )
    clash_clear(agent=agent, reason="The agent was put out")
    for told in on_gone:
        told(agent)
    send_to(group(agent.pk), {"type": "revoked"})
    publish(current_team_id(), "agents")
    agent.refresh_from_db()
    return agent


def agent_needs(*, agent: Agent) -> list[str]:
    """What must go before this agent can be removed, a sentence each."""
    return [sentence for asked in needed_for for sentence in asked(agent)]


def agent_delete(*, agent: Agent) -> None:
    """Forget an agent and what it said: link and tunnel are cut, its incidents resolve. Raises ValidationError while
    something needs it."""
    agent = Agent.objects.select_for_update().get(pk=agent.pk)
    if needed := agent_needs(agent=agent):
        raise ValidationError({"agent": needed})
    for element in (f"agent:{agent.pk}", f"agent:{agent.pk}:key"):
        incident_clear(kind="agent", element=element, source=SOURCE, reason="The agent was removed")
    for told in on_gone:
        told(agent)
    send_to(group(agent.pk), {"type": "removed"})
    agent.delete()
    publish(current_team_id(), "agents")


def agent_key_rotate(*, agent: Agent, key: bytes, signature: bytes) -> None:
    """Another key for an agent that asked for it under the old one; its link comes back with the new one."""
    old = bytes.fromhex(agent.public_key)
    if not verify(key, signature, rotate_message(old, key)):
        raise ValidationError({"signature": "This signature was not made with the new key over both keys."})
    kept, agent.rekey = agent.rekey, False
    agent.public_key = key.hex()
    agent.epoch += 1
    try:
        with transaction.atomic():
            agent.save(update_fields=["public_key", "epoch", "rekey"])
    except IntegrityError:
        raise ValidationError({"key": KEY_TAKEN}) from None
    AgentBoot.objects.filter(agent=agent).delete()  # they were signed with the old key
    if kept:
        clash_clear(agent=agent, reason="The machine that was kept has a key of its own now")
    send_to(group(agent.pk), {"type": "rotated"})
    publish(current_team_id(), "agents")
