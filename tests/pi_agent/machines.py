"""Trees of files as the kernel shows them on some machines."""

from __future__ import annotations

import os
from pathlib import Path

from pi_agent.machine import Roots

Adapter = dict[str, str]
"""Attributes of a USB adapter in sysfs."""
FTDI: Adapter = {"idVendor": "0403", "idProduct": "6001", "manufacturer": "FTDI", "product": "FT232R USB UART"}
CH340: Adapter = {"idVendor": "1a86", "idProduct": "7523", "product": "USB Serial"}


class Tree:
    """A machine below one folder; `roots` is what the agent is given of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = Roots(*(folder / name for name in ("proc", "sys", "dev", "etc")))

    def file(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def link(self, path: str, target: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(self.folder / target, place.parent))

    def uart(self, name: str, kind: int) -> None:
        """A port of the mainboard; kind 0 is one that is not there."""
        device = f"sys/devices/platform/serial8250/{name}"
        self.file(f"{device}/driver_override", "(null)\n")
        self.link(f"sys/class/tty/{name}/device", device)
        self.file(f"sys/class/tty/{name}/type", f"{kind}\n")
        self.file(f"dev/{name}", "")

    def console(self, name: str) -> None:
        """A virtual one: it has no device."""
        self.file(f"sys/class/tty/{name}/dev", "4:1\n")
        self.file(f"dev/{name}", "")

    def plug(self, name: str, path: str, adapter: Adapter, *, by_id: str = "") -> None:
        """An adapter in the socket `path` (1-1.2), as udev names it."""
        usb = f"sys/devices/pci0000:00/usb1/{path}"
        for attribute, value in adapter.items():
            self.file(f"{usb}/{attribute}", value + "\n")
        self.file(f"{usb}/{path}:1.0/{name}/port_number", "0\n")
        self.link(f"sys/class/tty/{name}/device", f"{usb}/{path}:1.0/{name}")
        self.file(f"dev/{name}", "")
        self.link(f"dev/serial/by-path/platform-xhci-usb-0:{path}:1.0-port0", f"dev/{name}")
        if by_id and not (self.folder / f"dev/serial/by-id/{by_id}").is_symlink():
            self.link(f"dev/serial/by-id/{by_id}", f"dev/{name}")

    def dev(self, path: str) -> str:
        return str(self.folder / "dev" / path)


def pi4(folder: Path) -> Tree:
    """With one adapter that has a serial number, the Pi's own two UARTs and virtual consoles."""
    tree = Tree(folder)
    tree.file(
        "proc/cpuinfo", "processor\t: 0\nSerial\t\t: 100000003316e619\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n"
    )
    tree.file("proc/device-tree/serial-number", "100000003316e619\0")
    tree.file("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    tree.file("proc/uptime", "3601.75 14000.10\n")
    tree.file("proc/sys/kernel/hostname", "pi-rack4\n")
    tree.file("etc/os-release", 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    tree.file("etc/machine-id", "f" * 32 + "\n")
    tree.uart("ttyAMA0", 32)
    tree.uart("ttyS0", 4)
    tree.console("tty1")
    tree.plug("ttyUSB0", "1-1.2", FTDI | {"serial": "A50285BI"}, by_id="usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0")
    return tree


def pi_with_twins(folder: Path) -> Tree:
    """Two adapters without serial numbers: udev has one by-id link for both."""
    tree = Tree(folder)
    tree.file("proc/cpuinfo", "Serial\t\t: 0000000000000000\n")
    tree.file("proc/device-tree/serial-number", "10000000aabbccdd\0")
    for name, path in (("ttyUSB0", "1-1.1"), ("ttyUSB1", "1-1.3")):
        tree.plug(name, path, CH340, by_id="usb-1a86_USB_Serial-if00-port0")
    return tree


def pc(folder: Path) -> Tree:
    """One real UART among four, and two adapters of a maker who gives all of them the same serial number."""
    tree = Tree(folder)
    tree.file("proc/cpuinfo", "processor\t: 0\nmodel name\t: Intel(R) Atom(TM)\n")
    tree.file("sys/class/dmi/id/sys_vendor", "Protectli\n")
    tree.file("sys/class/dmi/id/product_name", "FW4B\n")
    tree.file("sys/class/dmi/id/product_serial", "PX-77120\n")
    tree.file("etc/machine-id", "e" * 32 + "\n")
    for number in range(4):
        tree.uart(f"ttyS{number}", 4 if number == 0 else 0)
    for name, path in (("ttyUSB0", "1-2"), ("ttyUSB1", "1-3")):
        tree.plug(name, path, FTDI | {"serial": "0001"}, by_id="usb-FTDI_FT232R_USB_UART_0001-if00-port0")
    return tree
