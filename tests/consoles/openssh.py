"""The real OpenSSH client at the SSH door, with keys as people make them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pexpect
from django.conf import settings

from tenancy import ssh
from tenancy.models import User
from tests.agents.conftest import HANG


class OpenSsh:
    """Of one person, who has put the public half of a fresh key on their account page."""

    def __init__(self, folder: Path, user: User) -> None:
        self.folder, self.user = folder, user
        folder.mkdir()
        self.key = folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-C", "laptop", "-f", str(self.key)], check=True)
        self.added = ssh.ssh_key_add(user=user, line=self.key.with_suffix(".pub").read_text())
        self.known = folder / "known_hosts"
        shown = subprocess.run(["ssh-keygen", "-yf", ssh.host_key_file()], check=True, capture_output=True, text=True)
        self.known.write_text(f"[127.0.0.1]:{settings.CONSOLE_SSH_PORT} {shown.stdout}")

    def command(self, login: str, *options: str, key: Path | None = None) -> list[str]:
        """`ssh` as somebody `login`; `key`: another one than their own."""
        said = ["BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={self.known}", "StrictHostKeyChecking=yes"]
        told = [part for each in said for part in ("-o", each)]
        where = ["-p", str(settings.CONSOLE_SSH_PORT), "-l", login, "127.0.0.1"]
        return ["ssh", "-F", "none", *options, *told, "-i", str(key or self.key), *where]

    def run(self, login: str, *options: str, typed: bytes = b"", **how: Any) -> subprocess.CompletedProcess[bytes]:
        """Without a terminal, to its end."""
        command = self.command(login, "-T", *options, **how)
        return subprocess.run(command, input=typed, capture_output=True, timeout=HANG, check=False)

    def sit(self, login: str, *options: str, **how: Any) -> Any:
        """At a terminal (pexpect)."""
        command = self.command(login, *options, **how)
        return pexpect.spawn(command[0], command[1:], timeout=HANG, echo=False, dimensions=(40, 160))

    def sit_with_password(self, login: str, way: str = "keyboard-interactive") -> Any:
        none = [
            "-o",
            "BatchMode=no",
            "-o",
            "PubkeyAuthentication=no",
            "-o",
            "NumberOfPasswordPrompts=1",
            "-o",
            f"PreferredAuthentications={way}",
        ]
        return self.sit(login, *none)
