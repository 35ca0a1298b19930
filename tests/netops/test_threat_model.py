"""docs/threat-model.md names every door and, for each, tests that are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver

from netops.asgi import sockets
from netops.urls import urlpatterns

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
_TEST = re.compile(r"\b([a-z0-9_]+/test_\w+\.py)((?:::\w+)*)")


def doors() -> dict[str, str]:
    """The sections of the page: title -> text."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


DOORS = {title: text for title, text in doors().items() if not title.startswith("What")}


@cache
def names_in(file: str) -> set[str]:
    """The tests of a file as `name` or `Class::name`, and its classes."""
    found = set()
    for node in ast.parse((ROOT / "tests" / file).read_text()).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):  # Hypothesis: TestMachine = Machine.TestCase
            found |= {each.id for each in node.targets if isinstance(each, ast.Name)}
    return {name for name in found if name.rpartition("::")[2].lower().startswith("test")}


def named(text: str) -> list[tuple[str, str]]:
    return [(file, name.removeprefix("::")) for file, name in _TEST.findall(text)]


@pytest.mark.parametrize("door", DOORS)
def test_every_test_that_a_door_names_is_there(door: str) -> None:
    guards = named(DOORS[door])
    assert guards, "no test guards this door"
    for file, name in guards:
        assert (ROOT / "tests" / file).is_file(), file
        assert name in names_in(file), f"{file} has no {name or 'test named here'}"


@pytest.mark.parametrize("door", DOORS)
def test_every_door_says_what_threatens_and_what_guards(door: str) -> None:
    for said in ("**Threat.**", "**Guard.**", "**Tests.**"):
        assert DOORS[door].count(said) == 1, said


def prefixes(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
    for pattern in patterns:
        first = str(pattern.pattern).partition("/")[0]
        if first or isinstance(pattern, URLPattern):
            yield f"/{first}"
        else:
            yield from prefixes(pattern.url_patterns)


def test_every_first_step_of_a_route_belongs_to_a_door() -> None:
    steps = set(prefixes(urlpatterns)) | {f"/{str(route.pattern).partition('/')[0]}" for route in sockets.routes}
    assert {"/t", "/api", "/metrics", "/ws"} <= steps
    missing = {step for step in steps if not re.search(rf"`{re.escape(step)}(?:/[^`]*)?`", TEXT)}
    assert not missing


def test_the_reader_of_this_page_sees_what_is_wrong() -> None:
    assert named("`netops/test_threat_model.py::test_nothing`") == [("netops/test_threat_model.py", "test_nothing")]
    assert "test_nothing" not in names_in("netops/test_threat_model.py")
    assert "test_the_reader_of_this_page_sees_what_is_wrong" in names_in("netops/test_threat_model.py")
