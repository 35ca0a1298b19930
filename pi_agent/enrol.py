"""`netops-agent enrol`: spends a join token to make this machine's key known to the server."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pi_agent import state
from pi_agent.config import Config
from pi_agent.enrolment import ENROL_PATH, JoinToken, enrol_message
from pi_agent.fields import Fields, FrameError
from pi_agent.identity import Identity
from pi_agent.link import check_url
from pi_agent.machine import Machine
from pi_agent.post import PostError, check_server, post
from pi_agent.state import Enrolled


@dataclass(frozen=True, slots=True)
class Outcome:
    """`waiting`: somebody of the team has to approve the key first."""

    agent: str
    waiting: bool
    key: bytes


def enrol(url: str, token: str, config: Config) -> Outcome:
    """Makes a key if there is none, and keeps what the server says in the state folder. Raises PostError, StateError,
    IdentityError, or ValueError with one sentence; none of them tells the token."""
    server, join = check_server(url), JoinToken.parse(token)
    state.prepare(config.folder)
    identity = _identity(config)
    body = {
        "token": join.secret,
        "key": identity.public.hex(),
        "signature": identity.sign(enrol_message(join.secret, identity.public)).hex(),
        "registration": json.loads(Machine(config.wanted).registration().to_json()),
    }
    try:
        answer = post(server, ENROL_PATH, json.dumps(body).encode(), join.pin)
    except PostError as error:  # a server or a proxy may repeat what it was sent
        raise PostError(str(error).replace(join.secret, "…"), error.status) from None
    try:
        fields = Fields(answer, "the server's answer")
        enrolled = Enrolled(server, join.pin.hex(), fields.text("agent"), check_url(fields.text("link")))
        waiting = fields.text("state") == "waiting"
    except FrameError as error:
        raise PostError(f"{error}: update the older side") from None
    enrolled.save(config.folder)
    return Outcome(enrolled.agent, waiting, identity.public)


def _identity(config: Config) -> Identity:
    if config.key_file.exists():
        return Identity.load(config.key_file)
    identity = Identity.create(config.key_file)
    state.hand_over(config.key_file)
    return identity
