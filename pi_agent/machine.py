"""What machine this is: the Registration of the agent, read from /proc, /sys, /dev and /etc."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pi_agent import __version__
from pi_agent.addresses import interfaces
from pi_agent.fields import U32
from pi_agent.link import boot_id
from pi_agent.ports import Wanted, clean, line, serial_ports
from pi_agent.registration import Registration

_NO_SERIAL = {"", "0", "none", "default string", "not specified", "system serial number", "to be filled by o.e.m."}
"""What makers leave in DMI where a serial number should be."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's and the system's files are."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")


class Machine:
    """Reads what cannot change once, so that looking again each second costs little."""

    def __init__(self, wanted: Wanted | None = None, roots: Roots | None = None) -> None:
        self._wanted = wanted or Wanted()
        self._roots = roots or Roots()

    def registration(self) -> Registration:
        """As things are now. Raises OSError if the kernel does not tell its interfaces."""
        roots = self._roots
        return Registration(
            hostname=line(roots.proc / "sys/kernel/hostname") or clean(socket.gethostname()) or "unknown",
            serial=self._serial,
            model=self._model,
            os=self._os,
            software=__version__,
            boot=self._boot,
            uptime_s=self._uptime(),
            interfaces=interfaces(),
            ports=serial_ports(self._wanted, roots.sys, roots.dev),
        )

    @cached_property
    def _boot(self) -> uuid.UUID:
        return boot_id()

    @cached_property
    def _serial(self) -> str:
        """Of a Pi from its chip; else the device tree's, the mainboard's, the installation's."""
        roots = self._roots
        found = (
            self._cpuinfo.get("Serial", ""),
            line(roots.proc / "device-tree/serial-number"),
            line(roots.sys / "class/dmi/id/product_serial"),
            line(roots.etc / "machine-id"),
        )
        return next((each for each in found if each.lower() not in _NO_SERIAL and each.strip("0")), "")

    @cached_property
    def _model(self) -> str:
        roots = self._roots
        dmi = (line(roots.sys / "class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
        told = line(roots.proc / "device-tree/model") or self._cpuinfo.get("Model", "")
        return told or " ".join(filter(None, dmi))[:255]

    @cached_property
    def _os(self) -> str:
        """PRETTY_NAME of os-release(5)."""
        for each in _lines(self._roots.etc / "os-release"):
            name, _, value = each.partition("=")
            if name == "PRETTY_NAME":
                return clean(value.strip().strip("\"'"))
        return ""

    @cached_property
    def _cpuinfo(self) -> dict[str, str]:
        pairs = (each.partition(":") for each in _lines(self._roots.proc / "cpuinfo"))
        return {name.strip(): clean(value.strip()) for name, _, value in pairs}

    def _uptime(self) -> int:
        try:
            return min(int(float(line(self._roots.proc / "uptime").split()[0])), U32)
        except (IndexError, ValueError):
            return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
