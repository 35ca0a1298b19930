"""`/metrics` of a whole installation: what the suite of its own makes up is true of real roles, lab and agent."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from core.roles import EXPECTED
from tests.installation import Installation, wait_for


def samples(netops: Installation, token: str) -> dict[tuple[str, ...], float]:
    asked = urllib.request.Request(netops.url + "/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_an_installation_says_how_it_is(netops: Installation) -> None:
    token = netops.manage("metricstoken").strip()

    def one_process_each() -> bool:
        seen = samples(netops, token)
        return {role: seen["netops_role_processes", role] for role in EXPECTED} == dict.fromkeys(EXPECTED, 1)

    # Those that another test killed are counted until their beat is too old.
    wait_for("one process a role", one_process_each, 60)
    seen = samples(netops, token)
    assert (seen["netops_devices", "up"], seen["netops_links", "up"]) == (6, 8)
    assert (seen["netops_agents", "online"], seen["netops_sources", "live"]) == (2, 1)
    assert seen["netops_paths", "up"] >= 8
    assert seen["netops_incidents_open", "critical"] == 0
    assert seen["netops_inbox_oldest_seconds", "reports"] < 60
    netops.lab("cut", "R2", "R4", silent=True)
    wait_for("the open incident", lambda: samples(netops, token)["netops_incidents_open", "critical"] == 1, 60)
