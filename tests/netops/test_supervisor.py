"""Starting where something is in the way: one line that names it and the fix, and a status that is not 0."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded import free_port_base, temporary_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = temporary_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _runall(data: str, port: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NETOPS_")}
    return subprocess.run(
        [sys.executable, "manage.py", "runall"],
        cwd=ROOT,
        env={**kept, "NETOPS_DATA": data, "NETOPS_PORT": port, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode not in (0, None)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "netops has stopped" not in line]
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]


@pytest.mark.parametrize("offset", [0, 1, 4, 5])
def test_a_port_in_use_is_named(offset: int, folder: Path) -> None:
    base = free_port_base()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + offset))
        taken.listen()
        _one_line(_runall(str(folder), str(base)), str(base + offset), "NETOPS_PORT")


@pytest.mark.parametrize("text", ["abc", "80", "70000", "-1", "8000.5"])
def test_a_port_that_is_none(text: str, folder: Path) -> None:
    _one_line(_runall(str(folder), text), "NETOPS_PORT", text)


def test_a_data_folder_that_cannot_be_made() -> None:
    _one_line(_runall("/proc/netops", str(free_port_base())), "/proc/netops", "NETOPS_DATA")


def test_a_data_folder_that_is_too_long_for_a_socket(folder: Path) -> None:
    _one_line(_runall(str(folder / ("x" * 90)), str(free_port_base())), "too long", "NETOPS_DATA")


def test_a_data_folder_that_already_serves(folder: Path) -> None:
    import fcntl

    (folder / "run").mkdir()
    with (folder / "run" / "runall.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _one_line(_runall(str(folder), str(free_port_base())), "already runs", str(folder))


def test_a_broken_secrets_file_is_not_overwritten(folder: Path) -> None:
    (folder / "secrets.json").write_text("{")
    _one_line(_runall(str(folder), str(free_port_base())), "secrets.json")
    assert (folder / "secrets.json").read_text() == "{"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which needs root")
def test_a_full_disk_is_said_in_one_line(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k,mode=0711", "tmpfs", str(folder)], check=True)
    try:
        _one_line(_runall(str(folder), str(free_port_base())), "disk is full")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_role_that_does_not_exist_is_refused_with_the_list() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "run", "wbe"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "'web'" in done.stderr
    assert "Traceback" not in done.stderr
