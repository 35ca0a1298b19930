"""No container engine runs in the tests: the image and the compose file are linted and compared with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from netops.roles import ROLES

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker" / "compose.yaml").read_text()


def _tool(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name)), *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_passes_hadolint_and_is_not_root() -> None:
    _tool("hadolint", "docker/Dockerfile")
    users = re.findall(r"^USER (\S+)", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    assert users
    assert users[-1] not in ("root", "0")


def test_the_compose_file_follows_its_schema() -> None:
    _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml")


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"lab", "mail", "pi"}))
def test_every_role_has_its_service(role: str) -> None:
    assert f'command: ["run", "{role}"]' in COMPOSE


def test_who_needs_the_keys_that_agents_pin_or_the_logs_of_consoles_shares_the_folder() -> None:
    services = re.split(r"^  (?=\w+:$)", COMPOSE, flags=re.M)
    sharing = [service.partition(":")[0] for service in services if "data:/data" in service]
    assert sharing == ["web", "gateway", "worker"]


def test_every_variable_is_one_that_the_code_reads() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "netops").glob("*.py"))
    for name in re.findall(r"^\s+NETOPS_(\w+):", COMPOSE, re.M):
        known = f"NETOPS_{name}" in sources or f'secret("{name.lower()}")' in sources
        assert known, f"NETOPS_{name} is read nowhere"


def test_no_secret_has_a_value_in_the_repository() -> None:
    example = (ROOT / "docker" / "env.example").read_text()
    assert not re.findall(r"^\w*(?:PASSWORD|KEY|PEPPER)=\S", example, re.M)
