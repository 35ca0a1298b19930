"""docs/api.md is run from top to bottom against a live server: what it tells to type works and answers what it says."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agents.services import agent_create
from consoles.models import ConsolePort
from core.scope import team_scope
from tenancy.services import team_create
from tests.rows import lab_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "api.md"
# Where the page says that netops is, and its Python.
PLACE, PYTHON = "127.0.0.1:8000", ".venv/bin/python"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN, SHOWS = ("sh", "python", "yaml"), ("json", "text")


@dataclass
class Block:
    language: str
    text: str
    line: int
    # What the page shows as the answer: a fence of json or text right below, and nothing but blank lines between.
    shows: Block | None = None

    @property
    def at(self) -> str:
        return f"{PAGE.relative_to(ROOT)}:{self.line}"


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        block = Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        if block.language in SHOWS and found and not text[end : match.start()].strip():
            found[-1].shows = block
        else:
            found.append(block)
        end = match.end()
    return found


def fits(shown: Any, seen: Any) -> bool:
    """Whether an answer is what the page shows: `…` stands for anything, and keys may be left out."""
    if isinstance(shown, dict):
        return isinstance(seen, dict) and all(key in seen and fits(shown[key], seen[key]) for key in shown)
    if isinstance(shown, list):
        if shown and shown[-1] == "…":
            return isinstance(seen, list) and len(seen) >= len(shown) and all(map(fits, shown[:-1], seen))
        return isinstance(seen, list) and len(seen) == len(shown) and all(map(fits, shown, seen))
    return like(shown, seen) if isinstance(shown, str) and "…" in shown else bool(shown == seen)


def like(shown: str, seen: Any) -> bool:
    pattern = "*".join(re.sub(r"([*?\[])", r"[\1]", part) for part in shown.split("…"))
    return fnmatch.fnmatchcase(str(seen), pattern)


def lines_fit(shown: str, seen: str) -> bool:
    """Each line that is shown is there, in this order."""
    left = iter(seen.replace("\r", "").splitlines())
    return all(any(like(line, each) for each in left) for line in shown.splitlines())


class Reader:
    """Types what the page tells to type; what one block sets the next ones have."""

    def __init__(self, url: str, folder: Path) -> None:
        self.place, self.folder = url.removeprefix("http://"), folder
        (folder / "manage.py").symlink_to(ROOT / "manage.py")
        self.state = folder / "state"
        self.state.write_text("")
        self.first_python = ""

    def read(self, block: Block) -> None:
        getattr(self, f"read_{block.language}")(block)

    def read_sh(self, block: Block) -> None:
        refused = block.shows is not None and "HTTP/1.1 4" in block.shows.text
        options = "-sS" if refused else "-sS --fail-with-body"
        # Each answer on a line of its own, as a terminal shows it; a file gets it as it is.
        shown = f'command curl {options} "$@" || return; [ -f /dev/stdout ] || echo'
        script = f"""
            set -euo pipefail; set -a; source {self.state}; curl() {{ {shown}; }}
{self.theirs(block.text)}
            unset -f curl; export -p > {self.state}
        """
        self.judge(block, ["bash", "-c", script])

    def read_python(self, block: Block) -> None:
        """Later blocks go on from the first, which connects."""
        script = self.folder / "block.py"
        script.write_text(self.theirs(f"{self.first_python}\n{block.text}"))
        self.first_python = self.first_python or block.text
        self.judge(block, ["bash", "-c", f"source {self.state}; exec {sys.executable} {script}"])

    def read_yaml(self, block: Block) -> None:
        written = yaml.safe_load(self.theirs(block.text))
        if "scrape_configs" in written:
            for job in written["scrape_configs"]:
                self.scrape(block, job)
        elif written.get("plugin") == "netbox.netbox.nb_inventory":
            self.inventory(block, written)
        else:
            raise AssertionError(f"{block.at}: nothing here reads this configuration")

    def theirs(self, text: str) -> str:
        return text.replace(PLACE, self.place).replace(PYTHON, sys.executable)

    def judge(self, block: Block, command: list[str]) -> None:
        home = {name: os.environ[name] for name in ("PATH", "NETOPS_DATA", "NETOPS_PORT", "NETOPS_OUTBOUND_ALLOW")}
        done = subprocess.run(
            command, cwd=self.folder, env={**home, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=60
        )
        told = f"{block.at}:\n{block.text}\nsaid:\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, told
        if block.shows is None:
            return
        seen = done.stdout.replace(self.place, PLACE)
        if block.shows.language == "json":
            good = fits(json.loads(block.shows.text), json.loads(seen))
        else:
            good = lines_fit(block.shows.text, seen)
        if not good:
            raise AssertionError(f"{told}\nwhere the page shows:\n{block.shows.text}")

    def scrape(self, block: Block, job: dict[str, Any]) -> None:
        for source in job.get("http_sd_configs", []):
            groups = json.loads(ask(source["url"], self.kept(source)))
            assert groups, block.at
            assert all(set(group) == {"targets", "labels"} for group in groups)
            known = {label for group in groups for label in group["labels"]}
            named = [name for rule in job["relabel_configs"] for name in rule.get("source_labels", [])]
            assert {name for name in named if name.startswith("__meta")} <= known, block.at
        for target in (target for static in job.get("static_configs", []) for target in static["targets"]):
            url = f"{job.get('scheme', 'http')}://{target}{job.get('metrics_path', '/metrics')}"
            families = text_string_to_metric_families(ask(url, self.kept(job)).decode())
            assert "netops_database_up" in {family.name for family in families}

    def kept(self, configured: dict[str, Any]) -> str:
        """The header that Prometheus makes of it; a file of credentials is looked for beside the configuration."""
        written = configured["authorization"]
        return f"{written['type']} {(self.folder / written['credentials_file']).read_text().strip()}"

    def inventory(self, block: Block, plugin: dict[str, Any]) -> None:
        """What nb_inventory asks first, at the address and with the token it is given."""
        variable = re.fullmatch(r"\{\{ lookup\('env', '(\w+)'\) \}\}", plugin["token"])
        assert variable, block.at
        script = f"source {self.state}; printf %s ${variable[1]}"
        token = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        for path in ("/api/status/", "/api/schema/?format=json", "/api/dcim/devices/?limit=0&exclude=config_context"):
            assert json.loads(ask(plugin["api_endpoint"].rstrip("/") + path, f"Token {token}"))


def ask(url: str, authorization: str) -> bytes:
    asked = urllib.request.Request(
        url, headers={"Authorization": authorization, "Accept": "application/json, */*;q=0.1"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.status == 200
        body: bytes = answer.read()
        return body


@pytest.fixture
def reader(transactional_db: None, live_server: Any, tmp_path: Path) -> Reader:
    """In front of a live server with the team `demo`, its six routers and an agent with a console."""
    team = team_create(slug="demo", name="Demo")
    with team_scope(team.pk):
        lab_rows()
        pi = agent_create(name="pi4", public_key="aa" * 32)
        ConsolePort.objects.create(agent=pi, name="/dev/ttyUSB0")
    return Reader(live_server.url, tmp_path)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{each.name}" for each in PAGE.parent.glob("*.md"))])
def test_what_a_page_links_to_is_there(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert [each for each in targets if not ((ROOT / page).parent / each).exists()] == []


def test_every_block_of_the_page_is_run_or_compared() -> None:
    for block in blocks(PAGE.read_text()):
        assert block.language in RUN, f"{block.at}: say what this block is: one of {RUN}, or {SHOWS} below one"
    assert {"sh", "yaml"} <= {block.language for block in blocks(PAGE.read_text())}


def test_the_page_is_true(reader: Reader) -> None:
    for block in blocks(PAGE.read_text()):
        reader.read(block)


@pytest.mark.parametrize(
    ("shown", "seen", "same"),
    [
        ({"count": 2}, {"count": 2, "next": None}, True),
        ({"count": 2}, {"count": 3}, False),
        ({"count": 2}, {}, False),
        ({"url": "http://…/5/"}, {"url": "http://host/api/5/"}, True),
        ({"url": "http://…/5/"}, {"url": "http://host/api/6/"}, False),
        ([1, 2], [1, 2, 3], False),
        ([1, "…"], [1, 2, 3], True),
        ([1, "…"], [1], False),
        (["*"], ["x"], False),
        ("*…", "x", False),
        ("[…]", "[x]", True),
        (None, 0, False),
    ],
)
def test_what_is_shown_is_compared(shown: Any, seen: Any, same: bool) -> None:
    assert fits(shown, seen) is same


def test_lines_are_compared_in_order() -> None:
    seen = "HTTP/1.1 412 Precondition Failed\r\nServer: x\r\n\r\n{}"
    assert lines_fit("HTTP/1.1 412 …\n{}", seen)
    assert not lines_fit("{}\nHTTP/1.1 412 …", seen)
    assert not lines_fit("HTTP/1.1 200 …", seen)


def test_a_block_that_is_wrong_is_found(reader: Reader) -> None:
    for text in (
        "```sh\nfalse | true\n```",
        "```sh\ncurl http://127.0.0.1:8000/nowhere/\n```",
        "```sh\necho one\n```\n\n```text\ntwo\n```",
        '```python\nprint({})\n```\n```json\n{"a": 1}\n```',
        "```yaml\nother: thing\n```",
    ):
        (block,) = blocks(text)
        with pytest.raises(AssertionError):
            reader.read(block)


def test_what_a_block_sets_the_next_one_has(reader: Reader) -> None:
    python = "```python\nimport os\n```\n```python\nprint(os.environ['NAME'])\n```\n```text\nR1\n```"
    found = blocks(f"```sh\nNAME=R1\n```\n```sh\necho $NAME\n```\n```text\nR1\n```\n{python}")
    assert [bool(block.shows) for block in found] == [False, True, False, True]
    for block in found:
        reader.read(block)
