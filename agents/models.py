"""Agents in the field, known by their key."""

from django.db import connection, models

from tenancy.audit import tracked
from tenancy.models import TeamModel


@tracked(fields=["name", "public_key", "address"])
class Agent(TeamModel):
    """One pi_agent. `epoch` fences gateways: each accepted link raises it, writes of an older one are refused."""

    name = models.CharField(max_length=60)
    public_key = models.CharField(max_length=64, help_text="ed25519, 32 bytes as hex")
    # The address its probes come from and return to.
    address = models.GenericIPAddressField(null=True)
    online = models.BooleanField(default=False)
    epoch = models.PositiveBigIntegerField(default=0)
    boot = models.CharField(max_length=36, blank=True)
    hostname = models.CharField(max_length=255, blank=True)
    software = models.CharField(max_length=40, blank=True)
    addresses = models.JSONField(default=dict)
    first_seen = models.DateTimeField(null=True)
    last_seen = models.DateTimeField(null=True)

    class Meta(TeamModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="agent_name"),
            models.UniqueConstraint(fields=["team", "public_key"], name="agent_public_key"),
        ]

    def __str__(self) -> str:
        return self.name


class AgentStream(TeamModel):
    """How far a stream of an agent was received: the next offset expected, for the agent process `boot`."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="streams", db_constraint=False)
    stream = models.PositiveIntegerField()
    boot = models.CharField(max_length=36)
    offset = models.PositiveBigIntegerField(default=0)

    class Meta(TeamModel.Meta):
        constraints = [models.UniqueConstraint(fields=["team", "agent", "stream"], name="agentstream_once")]


def agent_of_key(public_key: str) -> tuple[int, int] | None:
    """(team id, agent id) of the agent with this key, in whichever team; enrolled twice, the first one counts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT team_id, agent_id FROM netops_agent_by_key(%s) ORDER BY agent_id LIMIT 1", [public_key])
        row = cursor.fetchone()
    return (row[0], row[1]) if row else None
