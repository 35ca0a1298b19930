"""The lab as a process: its control socket, what a user can get wrong, and how it ends."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.client import LabError, request
from tests.lab.conftest import HANG, SEED, VANTAGE, Lab, alive, lab_command, running_lab, wait_for

pytestmark = pytest.mark.lab


def refused(command: list[str], code: int) -> str:
    """The one line a lab that cannot start prints."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.strip()
    assert "\n" not in line
    return line


def test_ready_line_and_status(lab: Lab) -> None:
    assert lab.ready == "lab is ready: 6 routers, 8 links\n"
    status = lab.request("status")
    assert status["routers"] == ["R1", "R2", "R3", "R4", "R5", "R6"]
    assert status["endpoints"] == ["dev1", "dev2"]
    assert len(status["wires"]) == 10
    assert status["agent"]["node"] == "dev1"
    lab.request("cut", a="R2", b="R4", one_way=True)
    lab.request("loss", a="R4", b="R2", percent=2.5, one_way=True)
    lab.request("delay", a="R4", b="R2", ms=7, one_way=True)
    (wire,) = [wire for wire in lab.request("status")["wires"] if (wire["a"], wire["b"]) == ("R2", "R4")]
    assert (wire["a_address"], wire["b_address"]) == ("10.1.1.4", "10.1.1.5")
    there, back = wire["a_to_b"], wire["b_to_a"]
    assert (there["cut"], there["announced"], there["loss_percent"], there["delay_ms"]) == (True, True, 0, 0)
    assert (back["cut"], back["announced"], back["loss_percent"], back["delay_ms"]) == (False, False, 2.5, 7)


def test_a_lab_that_got_no_processor_says_so(lab: Lab) -> None:
    before = lab.request("status")["standstills"]
    lab.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    lab.process.send_signal(signal.SIGCONT)
    assert wait_for(lambda: lab.request("status")["standstills"] > before)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ({"cmd": "cut", "a": "R1", "b": "R9"}, "there is no node or interface R9"),
        ({"cmd": "cut", "a": "R1", "b": "R6"}, "there is no link between R1 and R6"),
        ({"cmd": "cut", "a": "R1", "b": "R1"}, "there is no link between R1 and R1"),
        ({"cmd": "cut"}, "a and b must name"),
        ({"cmd": "cut", "a": "R1"}, "b must name one end"),
        ({"cmd": "cut", "a": 1, "b": "R1"}, "a must name one end"),
        ({"cmd": "cut", "a": "R1", "b": "R2", "silent": "yes"}, "silent must be true or false"),
        ({"cmd": "loss", "a": "R1", "b": "R2"}, "percent must be a number from 0 to 100"),
        ({"cmd": "loss", "percent": 101}, "percent must be a number from 0 to 100"),
        ({"cmd": "loss", "percent": float("nan")}, "percent must be a number from 0 to 100"),
        ({"cmd": "loss", "percent": 5, "one_way": True}, "one_way needs a and b"),
        ({"cmd": "delay", "ms": -1}, "ms must be a number from 0 to 10000"),
        ({"cmd": "melt"}, "cmd must be one of status, cut, heal, loss, delay, not 'melt'"),
        ({"cmd": ["cut"]}, "cmd must be one of"),
    ],
)
def test_wrong_command_is_one_sentence(lab: Lab, command: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError) as caught:
        lab.request(**command)
    assert sentence in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.sampled_from([b"[" * 60_000, b'{"cmd": "status"', b"1" * 5000, b"x" * 200_000]))
def test_garbage_on_the_control_socket(_module_lab: Lab, garbage: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG)
        connection.connect(str(_module_lab.state / "control.sock"))
        connection.sendall(garbage + b"\n")
        answer = connection.makefile("rb").readline()
    assert answer == b"" or json.loads(answer)["ok"] is False
    assert _module_lab.request("status")["ok"]


def test_client_without_a_lab(state: Path) -> None:
    with pytest.raises(LabError, match="no lab is running"):
        request(state, "status")


def test_agent_is_restarted(lab: Lab) -> None:
    before = lab.request("status")["agent"]
    os.kill(before["pid"], signal.SIGKILL)
    (lab.state / "vantage").unlink()
    wait_for(lambda: lab.request("status")["agent"]["pid"] not in (None, before["pid"]))
    assert lab.request("status")["agent"]["restarts"] == before["restarts"] + 1
    wait_for((lab.state / "vantage").exists)
    assert wait_for(lambda: lab.passes("20.0.0.1"))


def test_agent_inherits_the_environment_and_lives_in_its_node(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST_WORD", "xyzzy")
    script = (
        "import os, socket, time; address = socket.create_server(('20.0.0.6', 0)).getsockname()[0];"
        f"open({str(state / 'new')!r}, 'w').write(os.environ['LAB_TEST_WORD'] + address);"
        f"os.rename({str(state / 'new')!r}, {str(state / 'said')!r}); time.sleep(1000)"
    )
    with running_lab("--agent", "dev2", "--", sys.executable, "-c", script, state=state):
        wait_for((state / "said").exists)
    assert (state / "said").read_text() == "xyzzy20.0.0.6"


def test_term_ends_everything_cleanly(state: Path) -> None:
    with running_lab(vantage=True, state=state) as lab:
        pid = lab.request("status")["agent"]["pid"]
        lab.process.terminate()
        assert lab.process.wait(HANG) == 0
        assert not alive(pid)
        assert not (state / "control.sock").exists()


def test_exit_with_open_connections_is_quiet(state: Path) -> None:
    with (
        running_lab(state=state, stderr=state / "stderr") as lab,
        socket.create_connection(("127.0.0.1", lab.bgp_port())) as peer,
        socket.socket(socket.AF_UNIX) as control,
    ):
        control.connect(str(state / "control.sock"))
        control.sendall(b"{}\n")
        assert peer.recv(1)
        assert control.recv(1)
        lab.process.terminate()
        assert lab.process.wait(HANG) == 0
    assert (state / "stderr").read_text() == ""


def test_kill_leaves_no_child_and_no_obstacle(state: Path) -> None:
    with running_lab(vantage=True, state=state) as lab:
        pid, port = lab.request("status")["agent"]["pid"], lab.bgp_port()
        lab.process.kill()
        lab.process.wait(HANG)
        wait_for(lambda: not alive(pid))
    with running_lab("--bgp", f"127.0.0.1:{port}", state=state) as lab:
        assert lab.bgp_port() == port


def test_stubborn_agent_is_killed(state: Path) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    with running_lab("--agent", "R1", "--", sys.executable, "-c", script, state=state) as lab:
        pid = lab.request("status")["agent"]["pid"]
        lab.process.send_signal(signal.SIGINT)
        assert lab.process.wait(HANG) == 0
        assert not alive(pid)


def test_second_lab_in_the_same_state(lab: Lab) -> None:
    assert "another lab is running" in refused(lab_command(lab.state), 2)
    assert lab.request("status")["ok"]


def test_port_in_use(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refused(lab_command(state, "--bgp", address), 2)
    assert address in line
    assert "give --bgp another" in line


def test_broken_topology_file(state: Path) -> None:
    document = copy.deepcopy(json.loads(SEED.read_text()))
    document["links"][3]["b"] = "R7"
    (state / "t.json").write_text(json.dumps(document))
    line = refused(lab_command(state, "--topology", str(state / "t.json")), 2)
    assert line == "lab: links[3].b must name one of the routers, not 'R7'"


def test_wrong_options(state: Path) -> None:
    assert "not dev9" in refused([*lab_command(state, "--agent", "dev9"), "--", "true"], 2)
    assert "cannot run /none/such in dev1" in refused([*lab_command(state, "--agent", "dev1"), "--", "/none/such"], 2)
    assert "cannot make" in refused(lab_command(state / ("x" * 120)), 2)
    (state / "file").touch()
    assert "cannot use" in refused(lab_command(state / "file"), 2)
    assert "cannot listen for BGP on 192.0.2.1:0" in refused(lab_command(state, "--bgp", "192.0.2.1:0"), 2)


def test_usage_errors(state: Path) -> None:
    for options in (["--bgp", "here"], ["--bgp", "127.0.0.1:99999"], ["--agent", "dev1"], ["--", "true"]):
        result = subprocess.run(lab_command(state, *options), capture_output=True, text=True, timeout=HANG)
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_without_user_namespaces(state: Path) -> None:
    """In a user namespace that may hold no further one."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    line = refused(["unshare", "-Ur", "sh", "-c", forbid, "sh", *lab_command(state)], 3)
    assert line.startswith("lab: the lab needs user and network namespaces")
    assert "user.max_user_namespaces" in line
    assert not (state / "control.sock").exists()


def test_other_topology_with_parallel_links(state: Path) -> None:
    """Two routers, two links between them: one is cut by its address, the other carries on."""
    routers = [{"name": name, "isis_system_id": f"0000.0000.000{n}"} for n, name in enumerate(("left", "right"))]
    links = [
        {"a": "left", "b": "right", "prefix": f"10.0.{n}.0/31", "a_address": f"10.0.{n}.0", "b_address": f"10.0.{n}.1"}
        for n in (1, 2)
    ]
    host = {"name": "dev1", "address": "20.0.0.2/30", "gateway": "20.0.0.1", "attached_to": "left"}
    document = {"routers": routers, "links": links, "endpoints": [host]}
    (state / "t.json").write_text(json.dumps(document))
    with running_lab("--topology", str(state / "t.json"), vantage=True, state=state) as lab:
        assert lab.ready == "lab is ready: 2 routers, 2 links\n"
        walks = [["20.0.0.1", "10.0.1.1"], ["20.0.0.1", "10.0.2.1"], ["20.0.0.1", "10.255.0.2"]]
        assert lab.request("cut", a="10.0.1.0", b="10.0.1.1")["directions"] == 2
        assert lab.lost(walks, [True, False, False])
        assert lab.request("cut", a="left", b="right")["directions"] == 4
        assert lab.lost(walks, [True, True, True])
        lab.request("heal")
        assert lab.lost(walks, [False, False, False])


def test_vantage_is_where_we_think(lab: Lab) -> None:
    namespace = os.stat(f"/proc/{lab.request('status')['agent']['pid']}/ns/net").st_ino
    assert namespace != os.stat("/proc/self/ns/net").st_ino
    assert VANTAGE.exists()
