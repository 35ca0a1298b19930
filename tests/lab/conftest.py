"""Real labs: the process of `python -m lab run`, and a vantage inside dev1."""

from __future__ import annotations

import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lab.client import request
from lab.topology import Topology, load

HANG = 30.0
"""Seconds after which something that takes moments counts as hung."""
SEED = Path(__file__).parents[2] / "lab" / "seed_lab.json"
VANTAGE = Path(__file__).with_name("vantage.py")


T = TypeVar("T")


def wait_for(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + HANG
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.02)
    return found


def lab_command(state: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "lab", "run", "--state", str(state), "--bgp", "127.0.0.1:0", *options]


class Lab:
    """A running lab process."""

    def __init__(self, process: subprocess.Popen[str], state: Path, ready: str) -> None:
        self.process, self.state, self.ready = process, state, ready
        self.topology = load(SEED)

    def request(self, cmd: str, **args: object) -> dict[str, Any]:
        return request(self.state, cmd, **args)

    def bgp_port(self) -> int:
        return int(self.request("status")["bgp"]["listening"].rpartition(":")[2])

    def _vantage(self, **question: object) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HANG)
            connection.connect(str(self.state / "vantage"))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(question) + "\n")
                stream.flush()
                return json.loads(stream.readline())

    def walks(self, walks: list[list[str]], expected: list[bool]) -> list[float | None]:
        """Round trip times of one datagram per walk, None is lost; waits long for what is expected to come back."""
        rtts: list[float | None] = self._vantage(walks=walks, expected=expected)
        return rtts

    def lost(self, walks: list[list[str]], expected: list[bool]) -> bool:
        """Whether exactly the expected walks were lost."""
        return [rtt is None for rtt in self.walks(walks, [not lost for lost in expected])] == expected

    def passes(self, *hops: str) -> bool:
        return self.lost([list(hops)], [False])

    def blocked(self, *hops: str) -> bool:
        return self.lost([list(hops)], [True])

    def send(self, packet: bytes) -> None:
        self._vantage(raw=packet.hex())


def far_side(topology: Topology, near: str, far: str) -> str:
    """The address that pins the hop from near to far."""
    for link in topology.links:
        if (link.a, link.b) == (near, far):
            return str(link.b_address)
        if (link.b, link.a) == (near, far):
            return str(link.a_address)
    raise AssertionError(f"no link {near}-{far}")


def pinned(topology: Topology, *routers: str) -> list[str]:
    """Hops of a walk from dev1 over these routers, the first one being R1."""
    return ["20.0.0.1"] + [far_side(topology, *pair) for pair in pairwise(routers)]


@contextmanager
def running_lab(
    *options: str, vantage: bool = False, state: Path | None = None, stderr: Path | None = None
) -> Iterator[Lab]:
    """Start a lab and stop it; skips the test where the machine cannot run one."""
    with ExitStack() as stack:
        if state is None:
            state = Path(tempfile.mkdtemp(prefix="lab-"))
            stack.callback(shutil.rmtree, state, ignore_errors=True)
        if vantage:
            (state / "vantage").unlink(missing_ok=True)
            options = (*options, "--agent", "dev1", "--", sys.executable, str(VANTAGE), str(state / "vantage"))
        errors = stack.enter_context(stderr.open("w")) if stderr else None
        process = subprocess.Popen(lab_command(state, *options), stdout=subprocess.PIPE, stderr=errors, text=True)
        stack.callback(_stop, process)
        assert process.stdout
        assert select.select([process.stdout], [], [], HANG)[0], "the lab never got ready"
        ready = process.stdout.readline()
        if not ready:
            assert process.wait(HANG) == 3
            pytest.skip("this machine cannot run a lab (its reason is on stderr)")
        lab = Lab(process, state, ready)
        if vantage:
            wait_for(lambda: _answers(lab))
        yield lab


def _answers(lab: Lab) -> bool:
    try:
        return lab.passes("20.0.0.1")
    except OSError:  # it does not listen yet
        return False


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(HANG)
    finally:
        process.kill()
    if process.stdout:
        process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def _module_lab() -> Iterator[Lab]:
    with running_lab(vantage=True) as lab:
        yield lab


@pytest.fixture
def lab(_module_lab: Lab) -> Iterator[Lab]:
    """The seed lab with a vantage in dev1, without faults."""
    _module_lab.request("heal")
    yield _module_lab
    _module_lab.request("heal")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder with a short name: a Unix socket's path holds 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
