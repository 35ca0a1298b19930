"""Ready-made rules, a file for each common system, each rule with lines that it must and must not match."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PackRule:
    name: str
    pattern: str
    severity: str
    hold_s: int
    matches: tuple[str, ...]
    passes: tuple[str, ...]

    def values(self) -> dict[str, Any]:
        return {"name": self.name, "pattern": self.pattern, "severity": self.severity, "hold_s": self.hold_s}


@dataclass(frozen=True)
class Pack:
    title: str
    about: str
    rules: tuple[PackRule, ...]


@cache
def packs() -> dict[str, Pack]:
    """{name: pack}, by name."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        told = tomllib.loads(file.read_text())
        rules = (_rule(told["title"], **each) for each in told["rule"])
        found[file.stem] = Pack(told["title"], told["about"], tuple(rules))
    return found


def _rule(title: str, *, name: str, matches: list[str], passes: list[str], **told: Any) -> PackRule:
    told = {"severity": "critical", "hold_s": 600, **told}
    return PackRule(name=f"{title}: {name}", matches=tuple(matches), passes=tuple(passes), **told)
