"""The demo team: the lab as its source, the agent in dev1, one campaign, one e-mail desk, two consoles."""

import os
import time
from pathlib import Path

from allauth.account.models import EmailAddress

from agents.enrolment import enrolment_token_create, join_token
from agents.models import Agent
from agents.services import agent_update
from consoles.check_services import check_ask
from consoles.models import ConsolePort
from consoles.services import port_update
from core.scope import team_scope
from inventory.models import Device, Endpoint, TopologySource
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
AGAIN_S = 0.5


def load_demo() -> None:
    """Make what is missing of it; what somebody changed stays as it is."""
    team = Team.objects.filter(slug="demo").first() or team_create(slug="demo", name="Demo")
    if not User.objects.filter(username="demo").exists():
        user = account_create(username="demo", password=home.secret("demo_password"), email="demo@example.org")
        EmailAddress.objects.filter(user=user).update(verified=True)
        member_set(team=team, user=user, role="owner")
    topology = _topology()
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
        for end in topology.endpoints:
            endpoint_set(name=end.name, address=str(end.address.ip))
        if _vantage() is None:
            (home.folder("agent") / "enrolled.json").unlink(missing_ok=True)
            _join_token(VANTAGE, home.folder("lab"))
        if not (home.folder("pi") / "agent" / "enrolled.json").exists():
            _join_token("The machine with consoles", home.folder("pi"))


def load_campaign() -> int:
    """Waits until the agent in the lab has enrolled, and has it probe the other end points; links the consoles with
    the routers that they are of once the network has told of these. An exit status."""
    team, probes, linked = Team.objects.get(slug="demo"), False, False
    while not (probes and linked):
        with team_scope(team.pk):
            if not probes and (agent := _vantage()):
                _probe_the_others(agent)
                probes = True
            linked = linked or _link_consoles()
        time.sleep(AGAIN_S)
    return 0


def _link_consoles() -> bool:
    """Whether that is done: each port that is called as a router is the console of that one."""
    if ConsolePort.objects.exclude(device=None).exists():
        return True
    routers = {router.name for router in _topology().routers}
    ports = {str(port): port for port in ConsolePort.objects.filter(title="") if str(port) in routers}
    devices = list(Device.objects.filter(name__in=ports))
    if not ports or len(devices) < len(ports):
        return False
    for device in devices:
        check_ask(port=port_update(port=ports[device.name], device=device), what="test")
    return True


def _probe_the_others(agent: Agent) -> None:
    ends = {end.name: end for end in Endpoint.objects.filter(name__in=[end.name for end in _topology().endpoints])}
    here = ends.pop(VANTAGE, None)
    if here and agent.address is None:
        agent_update(agent=agent, address=here.address)
    if here and ends and not Campaign.objects.exists():
        campaign_create(
            name=f"{VANTAGE} to {', '.join(ends)}", agent=agent, targets=[*ends.values()], policy=Campaign.Policy.ALL
        )


def _vantage() -> Agent | None:
    """Whoever holds the key of the agent in the lab."""
    key = home.folder("lab") / "agent.key"
    return Agent.objects.filter(public_key=Identity.load(key).public.hex()).first() if key.exists() else None


def _join_token(name: str, state: Path) -> None:
    """For an agent of the demo, until it has spent one."""
    _, secret = enrolment_token_create(name=name)
    home.write_private(state / "join-token", join_token(secret))


def _topology() -> Topology:
    path = Path(os.environ.get("NETOPS_LAB_TOPOLOGY") or Path(__file__).parent.parent / "lab" / "seed_lab.json")
    try:
        return load(path)
    except TopologyError as error:
        home.fail(f"the lab's topology cannot be used: {error}", status=2)
