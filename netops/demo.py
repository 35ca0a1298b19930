"""The demo team: the lab's route reflector as its source, the agent in dev1, one campaign, one e-mail desk."""

import os
from pathlib import Path

from allauth.account.models import EmailAddress

from agents.enrolment import enrolment_token_create, join_token
from agents.models import Agent
from agents.services import agent_create
from core.scope import team_scope
from inventory.models import TopologySource
from inventory.services import endpoint_set, source_create
from lab.topology import Topology, TopologyError, load
from netops import home
from pi_agent.identity import Identity
from probing.models import Campaign
from probing.services import campaign_create
from tenancy.models import Team, User
from tenancy.services import account_create, member_set, team_create
from ticketing.models import Desk
from ticketing.services import desk_create

VANTAGE = os.environ.get("NETOPS_LAB_VANTAGE") or "dev1"


def load_demo() -> None:
    """Make what is missing of it; what somebody changed stays as it is."""
    team = Team.objects.filter(slug="demo").first() or team_create(slug="demo", name="Demo")
    if not User.objects.filter(username="demo").exists():
        user = account_create(username="demo", password=home.secret("demo_password"), email="demo@example.org")
        EmailAddress.objects.filter(user=user).update(verified=True)
        member_set(team=team, user=user, role="owner")
    topology = _topology()
    key = home.folder("lab") / "agent.key"
    identity = Identity.load(key) if key.exists() else Identity.create(key)
    with team_scope(team.pk):
        if not TopologySource.objects.exists():
            source_create(name="Lab route reflector", host="127.0.0.1", port=home.port("bgp"))
        if not Desk.objects.exists():
            desk_create(
                name="Mail to the network team",
                driver="email",
                settings={
                    "host": "127.0.0.1",
                    "port": home.port("mail"),
                    "sender": "netops@example.org",
                    "to": ["noc@example.org"],
                    "security": "none",
                },
            )
        _join_token()
        endpoints = {end.name: endpoint_set(name=end.name, address=str(end.address.ip)) for end in topology.endpoints}
        if not Agent.objects.filter(name=VANTAGE).exists() and VANTAGE in endpoints:
            agent = agent_create(name=VANTAGE, public_key=identity.public.hex(), address=endpoints[VANTAGE].address)
            targets = [endpoint for name, endpoint in endpoints.items() if name != VANTAGE]
            if targets and not Campaign.objects.exists():
                campaign_create(
                    name=f"{VANTAGE} to {', '.join(target.name for target in targets)}",
                    agent=agent,
                    targets=targets,
                    policy=Campaign.Policy.ALL,
                )


def _join_token() -> None:
    """For the demo's second agent (lab/pi.py), until it has spent one."""
    state = home.folder("pi")
    if not (state / "agent" / "enrolled.json").exists():
        _, secret = enrolment_token_create(name="The demo's machine with consoles")
        home.write_private(state / "join-token", join_token(secret))


def _topology() -> Topology:
    path = Path(os.environ.get("NETOPS_LAB_TOPOLOGY") or Path(__file__).parent.parent / "lab" / "seed_lab.json")
    try:
        return load(path)
    except TopologyError as error:
        home.fail(f"the lab's topology cannot be used: {error}", status=2)
