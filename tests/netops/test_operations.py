"""docs/operations.md knows every variable that the code reads, and the docs name no file that is not there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pi_agent.config import NAMES

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("netops", "core", "tenancy", "ticketing", "inventory", "agents", "probing", "consoles", "pi_agent", "lab")
# pi_agent/config.py puts their names together.
PUT_TOGETHER = {"NETOPS_AGENT_CONFIG", *(f"NETOPS_AGENT_{name.upper()}" for name in NAMES)}
_VARIABLE = re.compile(r"NETOPS_[A-Z_]*[A-Z]")
_FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|sql|json|css|js|yaml|example|sh|html|toml|lock))(?:[:`])")


def read_by(tree: ast.AST) -> Iterator[str]:
    """Variables that stand in the code as a whole word, and secrets (netops/home.py:secret)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.fullmatch(node.value):
            yield node.value
        if isinstance(node, ast.Call) and "secret" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield f"NETOPS_{str(argument.value).upper()}"


def variables() -> set[str]:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    return {name for file in files for name in read_by(ast.parse(file.read_text()))} | PUT_TOGETHER


def test_every_variable_is_told_and_no_other() -> None:
    told = set(re.findall(r"^\| `(NETOPS_\w+)` \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    read = variables()
    assert {"NETOPS_DATA", "NETOPS_SECRETS_KEY", "NETOPS_METRICS_TOKEN", "NETOPS_OUTBOUND_ALLOW"} <= read
    assert read - told == set(), "docs/operations.md does not tell them"
    assert told - read == set(), "nothing reads them"


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{n}.md" for n in ("agent", "architecture", "operations", "threat-model"))]
)
def test_every_file_that_is_named_is_there(page: str) -> None:
    """By its path from the top, or below the room that the sentence is about."""
    rooms = (*ROOMS, "docs", "docker", "tests", "bench")
    known = [str(file.relative_to(ROOT)) for room in rooms for file in (ROOT / room).rglob("*")]
    missing = [
        name
        for name in _FILE.findall((ROOT / page).read_text())
        if not name.startswith("NETOPS_DATA/")
        and not (ROOT / name).exists()
        and not any(file.endswith(f"/{name}") for file in known)
    ]
    assert missing == []
