from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pi_agent import __version__
from pi_agent.machine import Machine, Roots
from pi_agent.ports import Wanted, serial_ports
from pi_agent.registration import MAX_PORTS, Port, Registration
from tests.pi_agent.machines import CH340, FTDI, Tree, pc, pi4, pi_with_twins
from tests.pi_agent.namespace import Router, in_namespace

BY_ID = "serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"


def names(tree: Tree, wanted: Wanted | None = None) -> list[str]:
    """Below the tree's /dev."""
    ports = serial_ports(wanted or Wanted(), tree.roots.sys, tree.roots.dev)
    return [port.name.removeprefix(f"{tree.roots.dev}/") for port in ports]


def test_a_pi_4(tmp_path: Path) -> None:
    tree = pi4(tmp_path)
    told = Machine(roots=tree.roots).registration()
    assert (told.hostname, told.serial, told.model) == (
        "pi-rack4",
        "100000003316e619",
        "Raspberry Pi 4 Model B Rev 1.4",
    )
    assert (told.os, told.software, told.uptime_s) == ("Debian GNU/Linux 12 (bookworm)", __version__, 3601)
    assert told.ports == (
        Port(tree.dev("ttyAMA0"), tree.dev("ttyAMA0")),
        Port(tree.dev("ttyS0"), tree.dev("ttyS0")),
        Port(tree.dev(BY_ID), tree.dev("ttyUSB0"), "0403", "6001", "A50285BI", "FTDI FT232R USB UART"),
    )
    assert Registration.parse(told.to_json()) == told


def test_adapters_without_a_serial_number_are_named_by_where_they_are(tmp_path: Path) -> None:
    tree = pi_with_twins(tmp_path)
    by_path = [
        "serial/by-path/platform-xhci-usb-0:1-1.1:1.0-port0",
        "serial/by-path/platform-xhci-usb-0:1-1.3:1.0-port0",
    ]
    assert names(tree) == by_path
    assert Machine(roots=tree.roots).registration().serial == "10000000aabbccdd"


def test_a_pc_whose_adapters_share_a_serial_number(tmp_path: Path) -> None:
    tree = pc(tmp_path)
    told = Machine(roots=tree.roots).registration()
    assert (told.serial, told.model, told.os) == ("PX-77120", "Protectli FW4B", "")
    assert names(tree) == [
        "ttyS0",
        "serial/by-path/platform-xhci-usb-0:1-2:1.0-port0",
        "serial/by-path/platform-xhci-usb-0:1-3:1.0-port0",
    ]
    assert [port.serial for port in told.ports] == ["", "0001", "0001"]


def test_a_name_stays_when_the_kernel_counts_otherwise(tmp_path: Path) -> None:
    first, second = Tree(tmp_path / "a"), Tree(tmp_path / "b")
    for tree, order in ((first, "01"), (second, "10")):
        tree.plug(f"ttyUSB{order[0]}", "1-1", FTDI | {"serial": "A1"}, by_id="usb-A1")
        tree.plug(f"ttyUSB{order[1]}", "1-2", CH340)
    assert sorted(names(first)) == sorted(names(second))


@pytest.mark.parametrize(
    ("path", "text", "serial"),
    [
        ("proc/cpuinfo", "Serial\t\t: 00c0ffee\n", "00c0ffee"),
        ("proc/device-tree/serial-number", "DT1\0", "DT1"),
        ("sys/class/dmi/id/product_serial", "Default string\n", "e" * 32),
        ("sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n", "e" * 32),
        ("sys/class/dmi/id/product_serial", "\x1b[31m<b>\n", "\ufffd[31m<b>"),
    ],
)
def test_the_serial_number_comes_from_the_first_that_has_one(tmp_path: Path, path: str, text: str, serial: str) -> None:
    tree = pc(tmp_path)
    tree.file(path, text)
    assert Machine(roots=tree.roots).registration().serial == serial


def test_a_container_with_nothing(tmp_path: Path) -> None:
    told = Machine(roots=Roots(*(tmp_path / name for name in ("proc", "sys", "dev", "etc")))).registration()
    assert told.hostname == socket.gethostname()
    assert (told.serial, told.model, told.os, told.uptime_s, told.ports) == ("", "", "", 0, ())
    assert Registration.parse(told.to_json()) == told


def test_patterns_choose_by_device_and_by_name(tmp_path: Path) -> None:
    tree = pi4(tmp_path)
    assert names(tree, Wanted(include=("*/ttyUSB*",))) == [BY_ID]
    assert names(tree, Wanted(include=("*FTDI*", "*ttyS0"), exclude=("*A50285BI*",))) == ["ttyS0"]
    assert names(tree, Wanted(exclude=("*/ttyAMA*", "*/ttyS*"))) == [BY_ID]
    assert names(tree, Wanted(include=())) == []


def test_ports_without_an_entry_in_sysfs_are_named_by_hand(tmp_path: Path) -> None:
    tree = pi4(tmp_path)
    ours, theirs = os.openpty()
    lab = tmp_path / "lab1"
    lab.symlink_to(os.ttyname(theirs))
    extra = (str(lab), str(tmp_path / "missing"), tree.dev("ttyUSB0"), tree.dev(BY_ID))
    ports = serial_ports(Wanted(include=("*/ttyUSB*",), extra=extra), tree.roots.sys, tree.roots.dev)
    assert ports[1:] == (Port(str(lab), os.ttyname(theirs)),)
    os.close(ours)
    os.close(theirs)


def test_no_more_ports_than_a_registration_holds(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for number in range(MAX_PORTS + 1):
        tree.uart(f"ttyS{number}", 4)
    told = Machine(roots=tree.roots).registration()
    assert len(told.ports) == MAX_PORTS
    assert Registration.parse(told.to_json()) == told


@in_namespace
async def test_interfaces_are_told_with_state_and_addresses() -> None:
    Router()
    lo, tun = sorted(Machine().registration().interfaces, key=lambda each: each.name)
    assert (lo.name, lo.up, lo.mac, lo.addresses) == ("lo", False, "", ())
    assert (tun.name, tun.up, tun.mac) == ("tun0", True, "")
    assert tun.addresses[0] == "20.0.0.2"
