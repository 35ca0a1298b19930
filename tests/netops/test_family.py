"""Children are kept running, told apart in what they print, and gone when they should be; each case is a process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def family(script: str, turns: int = 40) -> list[str]:
    """The lines that a family printed which ran `script` (it adds children to `f`) for some turns, then stopped."""
    head = "import os, sys, time, signal\nfrom netops.family import *\nf = Family()\nPY = sys.executable\n"
    tail = f"\nfor _ in range({turns}):\n    f.turn(0.02)\nf.stop(f.children)\nsay('end')\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(script) + tail],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "end"
    return lines


def test_what_a_child_prints_stands_behind_its_name() -> None:
    lines = family("f.add(Program('talker', [PY, '-c', 'import sys; print(1); print(2, file=sys.stderr); input()']))")
    assert "talker   | 1" in lines


def test_a_child_that_dies_is_started_again_later_each_time() -> None:
    lines = family("f.add(Program('mortal', ['/bin/sh', '-c', 'echo born; exit 7']))", turns=80)
    assert lines.count("mortal   | born") >= 2
    assert "netops   | mortal ended with status 7; it starts again in 0.3 s" in lines
    assert "netops   | mortal ended with status 7; it starts again in 0.6 s" in lines


def test_a_child_that_needs_a_person_is_left_alone() -> None:
    lines = family("f.add(Program('lab', ['/bin/sh', '-c', 'echo do this; exit 3']))")
    assert lines == ["lab      | do this", "netops   | lab ended and waits for you; everything else goes on", "end"]


def test_a_fork_goes_on_in_this_interpreter_and_may_fail() -> None:
    lines = family("f.add(Fork('one', lambda: print(os.getppid() == parent) or 0, once=True))".replace(
        "f.add", "parent = os.getpid()\nf.add", 1
    ))  # fmt: skip
    assert lines == ["one      | True", "end"]
    lines = family("f.add(Fork('bad', lambda: 1 // 0, once=True))")
    assert lines[-2] == "bad      | ZeroDivisionError: integer division or modulo by zero"


def test_the_status_of_a_fork_is_told() -> None:
    lines = family("""
        f.add(Fork('exit', lambda: sys.exit(5), once=True))
        while not (dead := f.turn(0.02)):
            pass
        say(str([(child.name, status) for child, status in dead]))
        f.add(Fork('value', lambda: 6, once=True))
        while not (dead := f.turn(0.02)):
            pass
        say(str([(child.name, status) for child, status in dead]))
    """)
    assert lines[:2] == ["[('exit', 5)]", "[('value', 6)]"]


def test_a_stubborn_child_is_killed_in_the_end() -> None:
    lines = family("""
        import netops.family
        netops.family.GRACE_S = 0.3
        f.add(Program('mule', ['/bin/sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 1; done']))
        while f.children[0].process is None or not f.children[0].process.pid:
            f.turn(0.02)
    """)
    assert "mule     | ready" in lines


def test_children_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = f"""
        def pulse():
            open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
            time.sleep(60)
            return 0
        f.add(Fork('pulse', pulse))
        while not os.path.exists({str(tmp_path / "pid")!r}) or not open({str(tmp_path / "pid")!r}).read():
            f.turn(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    head = "import os, sys, time, signal\nfrom netops.family import *\nf = Family()\n"
    subprocess.run([sys.executable, "-c", head + textwrap.dedent(script)], cwd=ROOT, timeout=60)
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    for _ in range(500):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        subprocess.run(["sleep", "0.02"])
    raise AssertionError("the child is still there")
