"""From BGP-LS to one ticket, with real parts throughout. Deadlines are hang guards at five times the goal."""

import json
import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.installation import Installation, wait_for

FOREVER_S = 25


def _incident(netops: Installation) -> dict[str, object]:
    return wait_for("an incident", netops.open_incidents, FOREVER_S)[0]


def _cut_and_heal(netops: Installation, a: str, b: str, *, one_way: bool) -> tuple[dict[str, object], list[str]]:
    """Cut silently, wait for the incident and the mail, heal, wait for the end; the incident and the new subjects."""
    before = len(netops.mails())
    netops.lab("cut", a, b, silent=True, one_way=one_way)
    incident = _incident(netops)
    wait_for("one mail", lambda: len(netops.mails()) > before, 50)
    netops.lab("heal")
    wait_for("the incident to resolve", lambda: not netops.open_incidents(), 75)
    wait_for("the recovery's mail", lambda: len(netops.mails()) > before + 1, 50)
    netops.settle()
    mails = netops.mails()[before:]
    assert len(mails) == 2, [str(mail["Subject"]) for mail in mails]
    assert mails[0]["Message-ID"] in str(mails[1]["References"])
    return incident, [str(mail["Subject"]) for mail in mails]


def test_a_silent_cut_is_named_and_one_ticket_is_sent(netops: Installation) -> None:
    known = netops.get("/api/ticketing/incidents/")["count"]
    incident, subjects = _cut_and_heal(netops, "R2", "R4", one_way=False)
    assert "R2–R4" in str(incident["title"])
    assert set(re.findall(r"R\d", str(incident["title"]))) == {"R2", "R4"}
    assert "R2–R4" in subjects[0]
    assert netops.get("/api/ticketing/incidents/")["count"] == known + 1


def test_a_one_way_cut_is_named_with_its_direction(netops: Installation) -> None:
    incident, _ = _cut_and_heal(netops, "R5", "R3", one_way=True)
    assert "R5→R3" in str(incident["title"])


def test_an_announced_cut_turns_the_link_down_and_plans_again(netops: Installation) -> None:
    netops.lab("cut", "R4", "R6", silent=False)

    def down() -> list[str]:
        return [str(link["name"]) for link in netops.results("/api/inventory/links/") if link["state"]["value"] != "up"]

    wait_for("the link to be down", lambda: down() == ["R4–R6"], FOREVER_S)
    wait_for(
        "paths without it",
        lambda: (
            (hops := [path["hops"] for path in netops.results("/api/probing/paths/?role=path")])
            and all("R5" in hop and "R6" in hop for hop in hops)
        ),
        FOREVER_S,
    )
    incident = _incident(netops)
    assert "R4–R6" in str(incident["title"])
    wait_for("one incident", lambda: len(netops.open_incidents()) == 1, FOREVER_S)


def test_the_eight_paths_in_api_and_command(netops: Installation) -> None:
    lab = json.loads((Path(__file__).resolve().parents[2] / "lab" / "seed_lab.json").read_text())
    expected = sorted(" ".join(path) for path in lab["all_simple_paths_dev1_dev2"])
    answer = netops.get("/api/inventory/paths/?source=dev1&target=dev2&policy=all")
    assert sorted(" ".join(path["hops"]) for path in answer["results"]) == expected
    assert answer["truncated"] is False
    printed = netops.manage("paths", "dev1", "dev2", "--policy", "all")
    assert sorted(line for line in printed.splitlines() if line.startswith("dev1 ")) == expected


def _agents(netops: Installation) -> list[str]:
    return sorted(str(agent["name"]) for agent in netops.results("/api/agents/agents/?limit=100"))


def test_both_agents_were_enrolled_by_the_program_itself(netops: Installation) -> None:
    for state, token in (("agent", "lab/join-token"), ("pi/agent", "pi/join-token")):
        enrolled = json.loads((netops.data / state / "enrolled.json").read_text())
        assert enrolled["agent"] in _agents(netops)
        assert not (netops.data / token).exists()
    (vantage,) = [agent for agent in netops.results("/api/agents/agents/") if agent["name"] == "dev1"]
    assert (vantage["hostname"], vantage["address"]) == ("dev1", "20.0.0.2")


VICTIMS = [
    "netops: web",
    "netops: gateway",
    "celery",
    "netops: listener",
    "exabgp server",
    r"^\S+ -m pi_agent run",
    "-m lab run",
    "valkey-server",
    "bin/postgres -D",
    "manage.py crew",
]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back_and_nothing_is_wrong(netops: Installation, victim: str) -> None:
    def alive() -> list[int]:
        return [pid for pid, command in netops.processes().items() if re.search(victim, command)]

    agents = _agents(netops)
    pids = wait_for("the process", alive, 60)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for("a new process", lambda: set(alive()) - set(pids), 60)
    wait_for("health", lambda: netops.health() == 200, 100)
    back = datetime.now(UTC).isoformat()

    def fresh() -> bool:
        heard = [str(path["heard"]) for path in netops.results("/api/probing/paths/?limit=100")]
        heard += [str(source["heard"]) for source in netops.results("/api/inventory/sources/")]
        return bool(heard) and min(heard) > back

    wait_for("results and topology newer than the kill", fresh, 150)
    assert _agents(netops) == agents
    netops.settle(150)


def _a_quiet_minute(netops: Installation) -> None:
    """A minute without an incident; one from when the lab got no processor to forward is right, and proves nothing."""
    for _ in range(5):
        netops.settle()
        before = netops.request("status")["standstills"]
        end = time.monotonic() + 60
        while not (opened := netops.open_incidents()) and time.monotonic() < end:
            time.sleep(1)
        if not opened:
            return
        assert netops.request("status")["standstills"] > before, opened
    pytest.fail("the whole lab stood still in each of five minutes: this machine is too busy")


def test_ten_times_the_rate_with_background_loss_opens_nothing(netops: Installation) -> None:
    campaign = netops.results("/api/probing/campaigns/")[0]
    netops.lab("loss", percent=0.1)
    netops.call("PATCH", f"/api/probing/campaigns/{campaign['id']}/", {"rate": campaign["rate"] * 10})
    try:
        _a_quiet_minute(netops)
        paths = [path["id"] for path in netops.results("/api/probing/paths/?limit=100")]
        minutes = [minute for path in paths for minute in netops.results(f"/api/probing/paths/{path}/minutes/")]
    finally:
        netops.call("PATCH", f"/api/probing/campaigns/{campaign['id']}/", {"rate": campaign["rate"]})
    # A whole minute at the raised rate, with the losses that were asked for and nothing else.
    busiest = max(minute["sent"] for minute in minutes)
    assert busiest > 60 * campaign["rate"] * 5
    assert sum(minute["received"] for minute in minutes) < sum(minute["sent"] for minute in minutes)


def test_the_one_way_style_probes_the_same_eight_paths(netops: Installation) -> None:
    body = {
        "name": "out by GRE, back by routing",
        "agent": {"name": "dev1"},
        "targets": [{"name": "dev2"}],
        "policy": "all",
    }
    made = netops.call("POST", "/api/probing/campaigns/", {**body, "style": "one_way", "rate": 5})
    try:
        paths = f"/api/probing/paths/?campaign_id={made['id']}&limit=100"

        def states() -> list[str]:
            return [str(path["state"]["value"]) for path in netops.results(paths)]

        wait_for("eight paths up", lambda: states() == ["up"] * 8, FOREVER_S)
        netops.lab("cut", "R1", "R2", silent=True, one_way=True)
        wait_for("the paths over it to be down", lambda: sorted(states()) == ["down"] * 4 + ["up"] * 4, FOREVER_S)
        netops.lab("heal")
        wait_for("eight paths up again", lambda: states() == ["up"] * 8, FOREVER_S)
    finally:
        netops.call("PATCH", f"/api/probing/campaigns/{made['id']}/", {"enabled": False})
