"""What the agent costs with eight serial ports: resident memory with a link up over TLS, and CPU at rest."""

import asyncio
import base64
import os
import ssl
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from websockets.asyncio.server import serve

from bench.support import finish, quick, table
from pi_agent.identity import Identity
from tests.pi_agent.server import Server, until
from tests.pi_agent.web import certificate

PORTS = 8
ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """VmRSS of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(folder: Path, ports: int, rest_s: float) -> tuple[float, float]:
    """(MB resident, % of a core) of `netops-agent run` once it has been up for `rest_s`."""
    pem, pin = certificate()
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    state = folder / f"state{ports}"
    state.mkdir(mode=0o700)
    Identity.create(state / "agent.key")
    terminals = [os.openpty() for _ in range(ports)]
    server = Server("")
    async with serve(server.handle, "127.0.0.1", 0, ssl=context, compression=None) as listener:
        port = listener.sockets[0].getsockname()[1]
        environment = {
            "NETOPS_AGENT_LINK": f"wss://127.0.0.1:{port}/link",
            "NETOPS_AGENT_PIN": base64.b64encode(pin).decode(),
            "NETOPS_AGENT_STATE": str(state),
            "NETOPS_AGENT_PORTS_EXTRA": " ".join(os.ttyname(theirs) for _, theirs in terminals),
        }
        command = (sys.executable, "-m", "pi_agent", "run")
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=os.environ | environment)
        await until(lambda: server.hellos)
        await asyncio.sleep(3)
        began = cpu_s(process.pid)
        await asyncio.sleep(rest_s)
        result = resident_mb(process.pid), 100 * (cpu_s(process.pid) - began) / rest_s
        process.terminate()
        await process.wait()
    for pair in terminals:
        for each in pair:
            os.close(each)
    return result


def main() -> None:
    rest_s = 10 if quick() else 60
    with tempfile.TemporaryDirectory() as name:
        found = {ports: asyncio.run(measure(Path(name), ports, rest_s)) for ports in (0, PORTS)}
    table(
        ("serial ports", "resident MB", f"% of a core in {rest_s} s"),
        [(ports, f"{rss:.1f}", f"{cpu:.2f}") for ports, (rss, cpu) in found.items()],
    )
    finish(rss_mb=round(found[PORTS][0], 1), idle_core_percent=round(found[PORTS][1], 2))


if __name__ == "__main__":
    main()
