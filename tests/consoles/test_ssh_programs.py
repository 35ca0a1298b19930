"""What docs/consoles.md shows of pexpect and netmiko is run as it stands there, against a router of the lab."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from django.conf import settings

from consoles.models import ConsolePort
from core.scope import team_scope
from lab.pi import router
from pi_agent.identity import Identity
from tenancy.models import Team, User
from tests.agents.conftest import HANG, GatewayProcess
from tests.consoles.conftest import Device, agent_with, opened
from tests.consoles.openssh import OpenSsh

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "consoles.md"
SCRIPTS = dict(re.findall(r"^```python\n((?:import|from) (\w+).*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
SCRIPTS = {library: script for script, library in SCRIPTS.items()}
SAYS = {"pexpect": "LAB-R1\n", "netmiko": "ge-0/0/5"}


def as_here(script: str, ssh: OpenSsh) -> str:
    """With this test's address, key, known hosts and patience in place of those of whoever reads the page."""
    home = ssh.folder / ".ssh"
    home.mkdir()
    (home / "id_ed25519").write_bytes(ssh.key.read_bytes())
    (home / "id_ed25519").chmod(0o600)
    (home / "known_hosts").write_text(ssh.known.read_text())
    config = ssh.folder / "config"
    config.write_text(f"IdentityFile {home}/id_ed25519\nUserKnownHostsFile {home}/known_hosts\nLogLevel ERROR\n")
    port = str(settings.CONSOLE_SSH_PORT)
    patience = ", ".join(f"{each}=90" for each in ("conn_timeout", "banner_timeout", "auth_timeout"))
    here = {
        "ssh -p 8008": f"ssh -F {config} -p {port}",
        "port=8008": f"port={port}, read_timeout_override=90, {patience}",
        "netops.example": "127.0.0.1",
        "timeout=30": "timeout=90",
    }
    for theirs, ours in here.items():
        script = script.replace(theirs, ours)
    return script


@pytest.mark.parametrize("library", SAYS)
def test_the_page_shows_what_works(
    library: str, gateway: GatewayProcess, identity: Identity, agent: object, team: Team, device: Device, alice: User,
    tmp_path: Path,
) -> None:  # fmt: skip
    ssh = OpenSsh(tmp_path / "alice", alice)
    script = as_here(SCRIPTS[library], ssh)

    def name(port: ConsolePort) -> None:
        with team_scope(team.pk):
            ConsolePort.objects.filter(pk=port.pk).update(title="R1")

    async def scenario() -> tuple[int | None, str]:
        console = asyncio.create_task(router("R1", device.link))
        await asyncio.sleep(0)
        async with agent_with(identity, device):
            await asyncio.to_thread(name, await opened(team, device))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, env={**os.environ, "HOME": str(ssh.folder)},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            async with asyncio.timeout(6 * HANG):
                told = (await process.communicate())[0].decode()
        console.cancel()
        return process.returncode, told

    status, told = asyncio.run(scenario())
    assert status == 0, told
    assert SAYS[library] in told
