"""Starting and stopping a second copy beside the first: what it needs, what it says, what it leaves."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded import free_port_base, temporary_folder
from tests.installation import ROOT, Installation, wait_for


def _alive(pids: list[int]) -> list[int]:
    """Which of them run; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def test_a_second_copy_runs_beside_the_first_and_leaves_nothing(running: Installation) -> None:
    parent = Path("/tmp").stat().st_mode
    with Installation() as second:
        assert any("sign in as demo" in line for line in second.lines) or wait_for(
            "the login", lambda: any("sign in as demo" in line for line in second.lines), 5
        )
        pids = list(second.processes())
        assert len(pids) > 10
        assert running.health() == second.health() == 200
        for secret in (second.data / "secrets.json", *second.data.glob("lab/*.key")):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert second.stop() == 0
        wait_for("every process to end", lambda: not _alive(pids), 30)
    assert Path("/tmp").stat().st_mode == parent
    assert running.health() == 200


def test_a_killed_supervisor_takes_everything_with_it() -> None:
    with Installation() as installation:
        pids = list(installation.processes())
        installation.process.kill()
        installation.process.wait()
        wait_for("every process to end", lambda: not _alive(pids), 60)


@pytest.mark.skipif(os.geteuid() != 0, reason="hides /dev/net/tun in a mount namespace, which needs root")
def test_without_a_lab_everything_else_starts_and_one_line_says_what_to_do() -> None:
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    with Installation(through=hide) as installation:
        wait_for("the lab's line", lambda: any("/dev/net/tun" in line for line in installation.lines), 120)
        assert installation.health() == 200
        said = [line for line in installation.lines if line.startswith("lab ")]
        assert len(said) == 1, said
        assert not any("Traceback" in line for line in installation.lines)


def test_a_broken_topology_file_is_one_sentence() -> None:
    folder = temporary_folder()
    lab = json.loads((ROOT / "lab" / "seed_lab.json").read_text())
    lab["links"][0]["b"] = "R99"
    (folder / "broken.json").write_text(json.dumps(lab))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NETOPS_")}
    done = subprocess.run(
        [sys.executable, "manage.py", "runall"],
        cwd=ROOT,
        env={
            **kept,
            "NETOPS_DATA": str(folder / "data"),
            "NETOPS_PORT": str(free_port_base()),
            "NETOPS_LAB_TOPOLOGY": str(folder / "broken.json"),
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 2
    shutil.rmtree(folder)
    said = done.stdout + done.stderr
    assert "R99" in said
    assert "Traceback" not in said
