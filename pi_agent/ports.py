"""This machine's serial ports and their stable names, from sysfs and udev's links.

pyserial's list_ports does not serve here: since Linux 6.5 it lists 32 ports that are not there (pyserial issue 763),
and it leaves the Pi's own ttyS0 out (issue 489). A UART that is not there has the type 0 (PORT_UNKNOWN, serial_core.h).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pi_agent.registration import MAX_PORTS, Port


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ports to offer: patterns of the shell on device and name, exclusion wins; `extra` paths always."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def takes(self, port: Port) -> bool:
        def fits(patterns: tuple[str, ...]) -> bool:
            return any(fnmatchcase(word, pattern) for pattern in patterns for word in (port.device, port.name))

        return fits(self.include) and not fits(self.exclude)


@dataclass(frozen=True, slots=True)
class _Found:
    port: Port
    usb: Path | None


def serial_ports(wanted: Wanted, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> tuple[Port, ...]:
    """Each name once; as many as a registration holds."""
    ports = {port.name: port for port in _named(_scan(sys, dev), dev) if wanted.takes(port)}
    devices = {port.device for port in ports.values()}
    for path in wanted.extra:
        device = str(Path(path).resolve())
        if device not in devices and Path(path).exists():
            ports[path] = Port(clean(path), clean(device))
    return tuple(ports.values())[:MAX_PORTS]


def _scan(sys: Path, dev: Path) -> list[_Found]:
    top = f"{sys}/class/tty"
    try:
        # The 64 virtual consoles are passed over by name, for this is asked each second; other ports have a device.
        known = sorted(name for name in os.listdir(top) if not name[3:].isdigit())
        names = [name for name in known if os.path.exists(f"{top}/{name}/device")]
    except OSError:
        return []
    there = (name for name in names if line(Path(top, name, "type")) != "0" and (dev / name).exists())
    return [_describe(Path(top, name), str(dev / name)) for name in there]


def _describe(tty: Path, device: str) -> _Found:
    """What USB says of it: the adapter is the next folder above that has an idVendor."""
    real = (tty / "device").resolve()
    usb = next((folder for folder in (real, *real.parents) if (folder / "idVendor").exists()), None)
    if usb is None:
        return _Found(Port(device, device), None)
    vendor, product, serial = (line(usb / name) for name in ("idVendor", "idProduct", "serial"))
    description = " ".join(filter(None, (line(usb / "manufacturer"), line(usb / "product"))))
    return _Found(Port(device, device, vendor, product, serial, description[:255]), usb)


def _named(found: list[_Found], dev: Path) -> list[Port]:
    """By its serial number where that tells it from the other adapters, else by where it is plugged in, else by device.

    Cheap adapters may all have the serial number 0001: udev's by-id link would then lead to any of them.
    """
    by_id, by_path = _links(dev / "serial/by-id"), _links(dev / "serial/by-path")
    holders: dict[tuple[str, str, str], set[Path | None]] = {}
    for one in found:
        holders.setdefault(_usb_id(one.port), set()).add(one.usb)
    ports = []
    for one in found:
        single = one.port.serial and len(holders[_usb_id(one.port)]) == 1
        name = (single and by_id.get(one.port.device)) or by_path.get(one.port.device) or one.port.device
        ports.append(replace(one.port, name=clean(name)))
    return ports


def _usb_id(port: Port) -> tuple[str, str, str]:
    return port.vendor, port.product, port.serial


def _links(folder: Path) -> dict[str, str]:
    """{device: the link to it}; of udev's two by-path links (usb-0, usbv2-0) the first, which older ones have too."""
    try:
        return {str(link.resolve()): str(link) for link in sorted(folder.iterdir(), reverse=True)}
    except OSError:
        return {}


def line(path: Path) -> str:
    """The first line of a small file as printable text; empty where it cannot be read."""
    try:
        text = path.read_bytes()[:1000].decode(errors="replace")
    except OSError:
        return ""
    return clean(text.partition("\n")[0].strip("\0 \t\r"))


def clean(text: str) -> str:
    """What a registration's text may be: printable, 255 characters at most."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)[:255]
