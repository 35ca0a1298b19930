"""How this agent is set up: one TOML file, and for each value an environment variable that wins over it."""

from __future__ import annotations

import base64
import binascii
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pi_agent.link import check_url
from pi_agent.ports import Wanted
from pi_agent.post import check_server

DEFAULT_FILE = Path("/etc/netops-agent/config.toml")
PREFIX = "NETOPS_AGENT_"
NO_LINK = "none"
_TABLES = ("ports_", "consoles_")


class ConfigError(ValueError):
    """A value cannot be used; the text is one sentence that names it and where it was given."""


@dataclass(frozen=True, slots=True)
class Config:
    """As config.example.toml explains them; names of the tables [ports] and [consoles] begin with these words here."""

    link: str = ""
    pin: str = ""
    server: str = ""
    state: str = "/var/lib/netops-agent"
    key: str = ""
    tunnel: str = ""
    ports_include: tuple[str, ...] = ("*",)
    ports_exclude: tuple[str, ...] = ()
    ports_extra: tuple[str, ...] = ()
    consoles_dial: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return Path(self.state)

    @property
    def key_file(self) -> Path:
        return Path(self.key) if self.key else self.folder / "agent.key"

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.ports_include, self.ports_exclude, self.ports_extra)


NAMES = tuple(field.name for field in fields(Config))


def load(file: Path | None, environment: Mapping[str, str]) -> Config:
    """`file`: one that must be there; None reads the default one if it is. Raises ConfigError."""
    given = _in_file(file or DEFAULT_FILE, needed=file is not None)
    for name in NAMES:
        variable = PREFIX + name.upper()
        if text := environment.get(variable):
            given[name] = (text.replace(",", " ").split() if name.startswith(_TABLES) else text, variable)
    return Config(**{name: _checked(name, value, where) for name, (value, where) in given.items()})


def _in_file(file: Path, *, needed: bool) -> dict[str, tuple[object, str]]:
    """{name: (value, where it was given)}."""
    try:
        content = tomllib.loads(file.read_text())
    except FileNotFoundError:
        if needed:
            raise ConfigError(f"there is no file {file}") from None
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None
    tables = {prefix: content.pop(prefix.rstrip("_"), {}) for prefix in _TABLES}
    named: dict[str, tuple[object, str]] = {name: (value, f"{name} in {file}") for name, value in content.items()}
    for prefix, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{prefix.rstrip('_')} in {file} must be a table")
        named |= {prefix + name: (value, f"{prefix.rstrip('_')}.{name} in {file}") for name, value in table.items()}
    for name, (_, where) in named.items():
        if name not in NAMES or (name in content and name.startswith(_TABLES)):
            raise ConfigError(f"{where} is no value that this agent knows")
    return named


def _checked(name: str, value: object, where: str) -> Any:
    if name.startswith(_TABLES):
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise ConfigError(f"{where} must be a list of texts")
        return tuple(value)
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigError(f"{where} must be printable text")
    try:
        if value and name in _CHECKS:
            _CHECKS[name](value)
    except ValueError as error:
        raise ConfigError(f"{where} cannot be used: {error}") from None
    return value


def parse_pin(text: str) -> bytes:
    """SHA-256 in base64 of either alphabet; raises ValueError with one sentence."""
    try:
        pin = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")).rstrip("=") + "=", validate=True)
    except binascii.Error:
        pin = b""
    if len(pin) != 32:
        raise ValueError("it must be the SHA-256 of the server's public key in base64, 43 characters")
    return pin


def parse_sshd(text: str) -> tuple[str, int]:
    """host:port; raises ValueError with one sentence."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("it must be host:port of this machine's sshd, as 127.0.0.1:22")
    return host.strip("[]"), int(port)


def _check_link(value: str) -> object:
    return value == NO_LINK or check_url(value)


_CHECKS: dict[str, Callable[[str], object]] = {
    "link": _check_link,
    "pin": parse_pin,
    "server": check_server,
    "tunnel": parse_sshd,
}
