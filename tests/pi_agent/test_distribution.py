"""`pip install ./pi_agent`: what comes of it, and how little it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.pi_agent.namespace import ROOT

NEEDS = {"cryptography", "websockets"}
BEHIND_THEM = {"_cffi_backend", "_openssl", "bcrypt"}
"""Parts of cryptography, and what it uses if it is there."""


def test_it_holds_every_module_and_the_command(tmp_path: Path) -> None:
    """Built by the backend that pip calls, without a network."""
    ignore = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "pi_agent", tmp_path / "source", ignore=ignore)
    command = [
        sys.executable,
        "-c",
        "from setuptools import setup; setup()",
        "install",
        "--root",
        str(tmp_path / "root"),
    ]
    command += ["--single-version-externally-managed", "--install-lib", "/lib", "--install-scripts", "/bin"]
    subprocess.run(command, cwd=tmp_path / "source", check=True, capture_output=True, timeout=120)
    installed = tmp_path / "root/lib"
    wanted = {path.relative_to(ROOT) for path in (ROOT / "pi_agent").rglob("*.py") if "build" not in path.parts}
    assert {path.relative_to(installed) for path in installed.rglob("*.py")} == wanted
    assert (installed / "pi_agent/py.typed").exists()
    assert (installed / "pi_agent/config.example.toml").exists()
    assert (installed / "pi_agent/netops-agent.service").exists()
    done = subprocess.run(
        [tmp_path / "root/bin/netops-agent", "--help"],
        env={"PYTHONPATH": str(installed), "PATH": "/nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "{enrol,run,rotate,status,doctor,keygen}" in done.stdout


def test_it_declares_what_it_imports_and_nothing_more() -> None:
    """In a fresh interpreter: every module of the agent, and whose modules that loads."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "pi_agent").rglob("*.py")
        if "build" not in path.parts
    ]
    code = (
        f"import sys, importlib; before = set(sys.modules); [importlib.import_module(each) for each in {modules!r}];"
        "loaded = {each.partition('.')[0] for each in set(sys.modules) - before};"
        "print(*sorted(loaded - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert set(done.stdout.split()) - BEHIND_THEM == NEEDS | {"pi_agent"}
    project = tomllib.loads((ROOT / "pi_agent/pyproject.toml").read_text())["project"]
    assert {each.partition(">")[0] for each in project["dependencies"]} == NEEDS
    assert project["requires-python"] == ">=3.11"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="the program systemd-analyze is missing")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    text = (ROOT / "pi_agent/netops-agent.service").read_text()
    unit = tmp_path / "netops-agent.service"
    unit.write_text(text.replace("/opt/netops-agent/bin/netops-agent", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"User=netops-agent", "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_NET_RAW"} <= set(text.splitlines())
