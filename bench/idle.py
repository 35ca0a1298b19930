"""What netops costs when nothing happens: memory (PSS) by role, start time, CPU. Baseline: a bare Django process."""

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.support import finish, quick, table
from tests.installation import Installation

KINDS = [
    ("netops: web", "web"),
    ("netops: gateway", "gateway"),
    ("celery", "worker"),
    ("netops: listener", "listener"),
    ("manage.py crew", "crew"),
    ("manage.py runall", "supervisor"),
    ("lab.mail_sink", "mail"),
    ("lab run", "lab"),
    ("pi_agent", "agent"),
    ("bgpls/helper", "exabgp"),
    ("exabgp", "exabgp"),
    ("postgres", "postgres"),
    ("valkey", "valkey"),
]
TICKS = os.sysconf("SC_CLK_TCK")


def pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(match[1]) if match else 0


def cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def role_of(command: str) -> str:
    return next((role for word, role in KINDS if word in command), command[:30])


def bare_django_mb() -> float:
    """The baseline: a process that has set up these very apps and does nothing."""
    code = "import os, django\nos.environ['DJANGO_SETTINGS_MODULE'] = 'netops.settings'\ndjango.setup()"
    code += "\nprint(flush=True)\ninput()"
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "NETOPS_DATA": "/tmp/netops-bench-bare"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        size = pss_kb(process.pid) / 1024
        process.kill()
    return size


def main() -> None:
    settle = 10 if quick() else 60
    with Installation() as installation:
        installation.settle()
        up_s = time.monotonic() - installation.started - installation.ready_s
        before = {pid: cpu_s(pid) for pid in installation.processes()}
        time.sleep(settle)
        memory: dict[str, float] = defaultdict(float)
        cpu: dict[str, float] = defaultdict(float)
        count: dict[str, int] = defaultdict(int)
        for pid, command in installation.processes().items():
            role = role_of(command)
            memory[role] += pss_kb(pid) / 1024
            cpu[role] += (cpu_s(pid) - before.get(pid, cpu_s(pid))) / settle * 100
            count[role] += 1
        ready_s = installation.ready_s
        installation.stop(keep=True)
    with Installation(data=installation.data) as again:
        warm_s = again.ready_s
    rows = [
        (role, count[role], f"{memory[role]:.1f}", f"{cpu[role]:.1f}")
        for role in sorted(memory, key=lambda r: -memory[r])
    ]
    rows.append(("all", sum(count.values()), f"{sum(memory.values()):.1f}", f"{sum(cpu.values()):.1f}"))
    rows.append(("baseline: a bare Django process", 1, f"{bare_django_mb():.1f}", "0.0"))
    table(("role", "processes", "PSS MB", "% of a core"), rows)
    print(f"start to the ready line: cold {ready_s:.1f} s (then {up_s:.1f} s until all is up), warm {warm_s:.1f} s")
    print("probing goes on all the time; one run: the memory is steady, the times hang on what else the machine does")
    finish(
        pss_mb=round(sum(memory.values()), 1),
        cpu_percent=round(sum(cpu.values()), 1),
        cold_ready_s=round(ready_s, 2),
        warm_ready_s=round(warm_s, 2),
    )


if __name__ == "__main__":
    main()
