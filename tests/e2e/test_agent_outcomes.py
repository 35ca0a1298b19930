"""Everything that may befall an agent in the field, done to the real program and a whole installation, in one table."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pi_agent.enrolment import HEARTBEAT_PATH
from pi_agent.identity import Identity
from pi_agent.post import PostError, post
from pi_agent.reports import signed_headers
from pi_agent.state import boot_clock_ns
from tests.e2e.far import Line, Machine, Table
from tests.installation import Installation, wait_for


class Field:
    """The demo's team as seen by REST, and two machines of ours in it: one that all is done to, and one whose line
    is cut for so long that the rest is done meanwhile."""

    def __init__(self, netops: Installation, folder: Path) -> None:
        self.netops = netops
        self.lines = [Line(netops.port + 1) for _ in range(2)]
        token = netops.manage("enrolment_token", "demo", "--uses", "2").strip()
        folders = [folder / name for name in ("one", "silent")]
        for each in folders:
            each.mkdir()
        self.one, self.silent = (Machine(*each, token) for each in zip(folders, self.lines, strict=True))
        self.clone: Machine | None = None
        self.names: dict[Machine, str] = {}

    def enrol(self, machine: Machine) -> None:
        self.names[machine] = machine.enrol()

    def agent(self, machine: Machine) -> dict[str, Any]:
        rows = self.netops.results("/api/agents/agents/?limit=100")
        return next((row for row in rows if row["name"] == self.names[machine]), {})

    def is_(self, machine: Machine, status: str) -> None:
        wait_for(f"{self.names[machine]} to be {status}", lambda: self.agent(machine).get("status") == status, 150)

    def incidents(self, machine: Machine) -> list[str]:
        """Titles of those about it, open or not."""
        rows = self.netops.results("/api/ticketing/incidents/?limit=100")
        return [row["title"] for row in rows if row["title"].endswith((self._quoted(machine), self._dead(machine)))]

    def _quoted(self, machine: Machine) -> str:
        return f"the key of agent {self.names[machine]}"

    def _dead(self, machine: Machine) -> str:
        return f"Agent {self.names[machine]} is dead"

    def open(self, machine: Machine) -> list[str]:
        rows = self.netops.open_incidents()
        return [row["title"] for row in rows if row["title"].endswith(self._quoted(machine))]

    def resolved(self) -> bool:
        titles = [row["title"] for row in self.netops.open_incidents()]
        return not [title for title in titles for each in self.names.values() if each in title]

    def do(self, machine: Machine, action: str) -> None:
        self.netops.call("POST", f"{self.agent(machine)['url'].removeprefix(self.netops.url)}{action}/")

    def report(self, machine: Machine, headers: dict[str, str]) -> int:
        """How the gateway answers a heartbeat: 200, or why not."""
        try:
            post(machine.server, HEARTBEAT_PATH, b"{}", machine.pin, headers)
        except PostError as error:
            return error.status
        return 200

    def headers(self, machine: Machine) -> dict[str, str]:
        identity = Identity.load(machine.state / "agent.key")
        return signed_headers(identity, HEARTBEAT_PATH, boot_clock_ns(), b"{}")

    def kill(self, title: str) -> None:
        """kill -9 of one process of the installation; it is started again by itself."""
        pid = wait_for(title, lambda: self._pid(title), 60)
        os.kill(pid, signal.SIGKILL)
        wait_for(f"another {title}", lambda: self._pid(title) not in (0, pid), 60)

    def _pid(self, title: str) -> int:
        return next((pid for pid, text in self.netops.processes().items() if title in text), 0)

    def close(self) -> None:
        for line in self.lines:
            line.mend()
        for machine in (self.one, self.silent, self.clone):
            if machine:
                machine.kill()
        for machine in self.names:
            if self.agent(machine)["status"] != "revoked":
                self.do(machine, "revoke")
        for line in self.lines:
            line.close()
        wait_for("our incidents to resolve", self.resolved, 60)


@pytest.fixture
def field(netops: Installation, tmp_path: Path) -> Iterator[Field]:
    made = Field(netops, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_whatever_befalls_an_agent_comes_out_as_it_should(field: Field, tmp_path: Path) -> None:
    table = Table()
    try:
        _comes_up(field, table)
        _is_killed(field, table)
        field.lines[1].cut()
        _loses_its_line_for_a_moment(field, table)
        _is_copied(field, table, tmp_path)
        _is_kept(field, table)
        _is_put_out(field, table)
        _was_cut_off_for_long(field, table)
    finally:
        print(f"\n{table}")


def _comes_up(field: Field, table: Table) -> None:
    with table.row("enrol", "the token is spent, the server knows the agent by its key"):
        field.enrol(field.one)
        assert field.agent(field.one)["state"]["value"] == "enrolled"
        key = Identity.load(field.one.state / "agent.key").public.hex()
        assert field.agent(field.one)["public_key"] == key
        field.enrol(field.silent)
    with table.row("register", "it is online, with its boot id and its interfaces"):
        for machine in (field.one, field.silent):
            machine.start()
            machine.up()
            field.is_(machine, "online")
            wait_for("it to register", lambda machine=machine: field.agent(machine)["registered"], 60)  # type: ignore[misc]
        assert "lo" in [each["name"] for each in field.agent(field.one)["interfaces"]]
        changed = {"holdtime_s": 10, "interval_s": 5}
        field.netops.call("PATCH", field.agent(field.silent)["url"].removeprefix(field.netops.url), changed)


def _is_killed(field: Field, table: Table) -> None:
    one = field.one
    with table.row("kill -9 the agent", "started again it is online as the same agent, without an incident"):
        since = one.up()
        one.kill()
        one.start()
        since = one.up(after=since)
        field.is_(one, "online")
    with table.row("kill -9 the gateway", "the link comes back by itself, without an incident"):
        field.kill("netops: gateway")
        since = one.up(after=since)
        field.is_(one, "online")
    with table.row("kill -9 Valkey", "the link stays, and what is plugged in is known, without an incident"):
        field.kill("valkey-server")
        _plugs_in(field)
        assert one.up() == since
        assert field.incidents(one) == []


def _plugs_in(field: Field) -> None:
    """Or out."""
    count = len(field.agent(field.one)["ports"])
    if count:
        field.one.port.unlink()
    else:
        field.one.port.symlink_to("/dev/null")
    wait_for("the ports to be known", lambda: len(field.agent(field.one).get("ports", [])) == 1 - count, 60)


def _loses_its_line_for_a_moment(field: Field, table: Table) -> None:
    with table.row("cut the link for 10 s", "the link stays, what was told meanwhile arrives, without an incident"):
        since = field.one.up()
        field.lines[0].cut()
        time.sleep(10)
        field.lines[0].mend()
        _plugs_in(field)
        assert field.one.up() == since
        field.is_(field.one, "online")
        assert field.incidents(field.one) == []
    with table.row("replay a captured report", "it is refused as one that came before (409)"):
        captured = field.headers(field.one)
        assert [field.report(field.one, captured) for _ in range(2)] == [200, 409]


def _is_copied(field: Field, table: Table, folder: Path) -> None:
    with table.row("clone the key", "the second machine is refused, the first stays, one incident within 60 s"):
        since, began = field.one.up(), time.monotonic()
        field.clone = field.one.clone(folder / "clone")
        field.clone.start()
        wait_for("the incident", lambda: field.incidents(field.one), 120)
        print(f"two machines with one key were seen after {time.monotonic() - began:.1f} s")
        wait_for("it to come again", lambda: field.clone and field.clone.log.count("(clone)") > 1, 60)
        assert field.one.up() == since
        assert field.incidents(field.one) == [f"Two machines use the key of agent {field.names[field.one]}"]


def _is_kept(field: Field, table: Table) -> None:
    one = field.one
    with table.row(
        "keep the one that is connected", "it takes another key by itself, the copy is not let in, the incident is over"
    ):
        since, copied = one.up(), Identity.load(one.state / "agent.key").public
        field.do(one, "keep")
        wait_for("another key", lambda: field.agent(one).get("public_key") != copied.hex(), 60)
        one.up(after=since)
        field.is_(one, "online")
        wait_for("the copy to be refused", lambda: field.clone and "not enrolled" in field.clone.status.error, 60)
        assert field.agent(one)["public_key"] == Identity.load(one.state / "agent.key").public.hex()
        wait_for("the incident to resolve", lambda: not field.open(one), 60)


def _is_put_out(field: Field, table: Table) -> None:
    with table.row("revoke", "the link is cut within a second, neither link nor report is let in"):
        began = time.monotonic()
        field.do(field.one, "revoke")
        wait_for("the link to be cut", lambda: field.one.status.since is None, 30)
        print(f"the link was cut {time.monotonic() - began:.1f} s after the order to revoke was given")
        wait_for("the key to be refused", lambda: "not enrolled" in field.one.status.error, 60)
        assert field.report(field.one, field.headers(field.one)) == 401
        assert field.agent(field.one)["status"] == "revoked"
        assert len(field.incidents(field.one)) == 1


def _was_cut_off_for_long(field: Field, table: Table) -> None:
    silent = field.silent
    with table.row("cut the link for longer than the holdtime", "it is dead, one incident"):
        field.is_(silent, "dead")
        wait_for("the incident", lambda: field.incidents(silent), 60)
    with table.row("mend it", "it is online by itself, and the one incident resolves"):
        field.lines[1].mend()
        field.is_(silent, "online")
        wait_for("the incident to resolve", field.resolved, 120)
        assert field.incidents(silent) == [f"Agent {field.names[silent]} is dead"]
