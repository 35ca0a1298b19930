from __future__ import annotations

import errno
import os
import socket
import ssl
from http.client import HTTPException
from pathlib import Path

import pytest

from pi_agent.config import Config
from pi_agent.doctor import clock, examine, may_open, port_finding
from pi_agent.identity import Identity
from pi_agent.pinning import PinError
from pi_agent.post import explain
from pi_agent.registration import Port
from pi_agent.state import Enrolled, lock
from tests.pi_agent.web import serving

URL = "https://server.example:8001"


def enrolled(folder: Path, url: str, pin: bytes) -> Config:
    """With a key, and no ports."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    Identity.create(state / "agent.key")
    link = url.replace("http", "ws", 1) + "/link" if url.startswith("http") else url
    Enrolled(url, pin.hex(), "pi", link).save(state)
    return Config(state=str(state), ports_include=())


def test_when_all_is_well(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        config = enrolled(tmp_path, web.url, web.pin)
        with lock(config.folder):
            findings = list(examine(config))
    assert [finding.sentence for finding in findings if not finding.well] == []
    assert [finding.sentence for finding in findings] == [
        f"the key is {config.key_file}",
        f"enrolled with {web.url} as pi",
        "the agent runs",
        f"{web.url} answers and has the pinned key",
        "the clock is right",
        "there are no serial ports",
    ]


def test_each_fault_is_one_sentence(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        config = enrolled(tmp_path, web.url, bytes(32))
        config.key_file.chmod(0o640)
        wrong = [finding.sentence for finding in examine(config) if not finding.well]
    assert wrong == [
        f"others can read {config.key_file}; run: chmod 600 {config.key_file}",
        "the agent does not run: systemctl enable --now netops-agent, or see journalctl -u netops-agent",
        "the server has another key than the one the token named: enrol again if it was moved "
        "(a proxy that opens TLS looks the same)",
    ]


def test_a_fresh_machine(tmp_path: Path) -> None:
    wrong = [finding.sentence for finding in examine(Config(state=str(tmp_path), ports_include=()))]
    assert wrong[0].startswith("no key file")
    assert wrong[1].startswith("this agent is not enrolled: run netops-agent enrol URL TOKEN")


def test_a_clock_that_is_off(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        web.skew_s = 3 * 3600
        wrong = [
            f.sentence for f in examine(enrolled(tmp_path, web.url, web.pin)) if f.sentence.startswith("the clock")
        ]
    assert wrong == [
        "the clock is 180 min behind the server's: let NTP through the firewall (UDP port 123) and run "
        "timedatectl set-ntp true"
    ]
    assert "10 min ahead" in clock(600).sentence
    assert clock(-59).well


def test_a_server_that_does_not_listen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    wrong = [finding.sentence for finding in examine(enrolled(tmp_path, url, bytes(32)))]
    assert any("refuses connections: check the URL, that the server runs, and the firewall" in each for each in wrong)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            socket.gaierror(-2, "x"),
            "the name server.example cannot be resolved: check the network and the name servers",
        ),
        (TimeoutError(), "server.example port 8001 does not answer: let outgoing TCP to port 8001 through"),
        (ConnectionRefusedError(), "server.example port 8001 refuses connections"),
        (PermissionError(errno.EPERM, "x"), "this machine itself forbids connections to server.example port 8001"),
        (OSError(errno.ENETUNREACH, "x"), "there is no way to server.example port 8001: check the cable or Wi-Fi"),
        (ssl.SSLError(1, "wrong version"), "server.example port 8001 does not speak the TLS that is wanted"),
        (PinError("another key"), "another key (a proxy that opens TLS"),
        (HTTPException("\x1b[31m"), "server.example port 8001 cannot be talked to: \ufffd[31m"),
        (OSError(errno.EIO, "I/O error"), "server.example port 8001 cannot be talked to: I/O error"),
    ],
)
def test_what_went_wrong_on_the_way(error: Exception, sentence: str) -> None:
    assert explain(error, URL).startswith(sentence)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "user", "groups", "can"),
    [
        (0o660, 0, 20, 990, [990, 20], True),
        (0o660, 0, 20, 990, [990], False),
        (0o640, 0, 20, 990, [20], False),
        (0o666, 0, 0, 990, [990], True),
        (0o606, 0, 20, 990, [20], False),
        (0o600, 990, 0, 990, [990], True),
        (0o000, 0, 0, 0, [], True),
    ],
)
def test_who_may_open_a_port(mode: int, owner: int, group: int, user: int, groups: list[int], can: bool) -> None:
    status = os.stat_result((mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert may_open(status, user, groups) is can


def test_ports_that_cannot_be_used(tmp_path: Path) -> None:
    device, consoles = tmp_path / "ttyAMA0", tmp_path / "consoles"
    device.touch(0o660)
    os.chown(device, -1, os.getgid())
    port = Port("Pi's own", str(device))
    consoles.write_text("")
    assert port_finding(port, "netops-agent", lambda _: True, consoles).well
    refused = port_finding(port, "netops-agent", lambda _: False, consoles)
    assert not refused.well
    assert refused.sentence.startswith("netops-agent may not open Pi's own: ")
    consoles.write_text("ttyAMA0              -W- (EC   p a)  204:64\n")
    taken = port_finding(port, "netops-agent", lambda _: True, consoles)
    assert (taken.well, "raspi-config" in taken.sentence) == (False, True)
    device.unlink()
    assert not port_finding(port, "netops-agent", lambda _: True, consoles).well
