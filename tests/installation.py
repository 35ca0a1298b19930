"""A whole installation of its own: `manage.py runall` with the demo and the lab, driven as its user would."""

import email
import email.policy
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self, TypeVar

from lab.client import LabError, request
from tests.embedded import free_port_base, temporary_folder

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], timeout_s: float) -> T:
    """The first true answer of `condition`; fails naming `what` after `timeout_s`, a hang guard and no goal."""
    deadline = time.monotonic() + timeout_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what}; last seen: {answer!r}")
        time.sleep(0.05)


class Installation:
    """Started by `with`; everything it started is gone afterwards."""

    def __init__(self, *, data: Path | None = None, through: Sequence[str] = (), **environment: str) -> None:
        """`data`: a folder that another one left; `through`: a command that runs it."""
        self.data = data or temporary_folder()
        self.through = through
        self.kept = False
        self.port = free_port_base()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NETOPS_")}
        own = {"NETOPS_DATA": str(self.data), "NETOPS_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        self.environment = {**kept, **own, **environment}
        self.lines: list[str] = []
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*self.through, sys.executable, "manage.py", "runall"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            wait_for("the ready line", lambda: self._seen("netops is ready") or self.process.poll() is not None, 180)
            assert self._seen("netops is ready"), "\n".join(self.lines)
        except AssertionError:
            self.stop()
            raise AssertionError("netops did not start:\n" + "\n".join(self.lines[-40:])) from None
        self.ready_s = time.monotonic() - self.started
        self.token = self.manage("apitoken", "demo", "--role", "owner").strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def _seen(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def stop(self, *, keep: bool = False) -> int:
        """Ctrl-C, as its user would; the exit status. Its folder is removed unless it is to be kept."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.kept = self.kept or keep
        if not self.kept:
            shutil.rmtree(self.data, ignore_errors=True)
        return self.process.returncode

    def manage(self, *arguments: str) -> str:
        """The output of `manage.py …`; fails with what it printed where it fails."""
        done = self.try_manage(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, text=True, capture_output=True, timeout=60)

    def lab(self, command: str, *names: str, **arguments: object) -> None:
        """Break or mend the lab through its control socket, without the half second of a new process."""
        self.request(command, **dict(zip("ab", names, strict=False)), **arguments)

    def request(self, command: str, **arguments: object) -> dict[str, Any]:
        """The lab's answer to one command, once it is there to answer."""
        wait_for("the lab to answer", self._lab_is_up, 60)
        return request(self.data / "lab", command, **arguments)

    def _lab_is_up(self) -> bool:
        try:
            return bool(request(self.data / "lab", "status"))
        except LabError:
            return False

    def get(self, path: str) -> Any:
        """The JSON answer of GET `path`."""
        return self.call("GET", path)

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return json.loads(answer.read())

    def results(self, path: str) -> list[dict[str, Any]]:
        """The rows of a list, or none while the answer is not to be had (a role is being restarted)."""
        try:
            rows: list[dict[str, Any]] = self.get(path)["results"]
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return []
        return rows

    def health(self) -> int:
        try:
            with urllib.request.urlopen(self.url + "/health/", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return 0

    def mails(self) -> list[EmailMessage]:
        """What lies in the demo's sink, oldest first."""
        files = sorted((self.data / "mail").glob("*.eml"))
        messages = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
        return [message for message in messages if isinstance(message, EmailMessage)]

    def settle(self, timeout_s: float = 75) -> None:
        """Wait until the lab is as it should be: 6 routers, 8 links, 8 paths with all walks up, no open incident."""
        missing: list[str] = []

        def settled() -> bool:
            missing[:] = self._missing()
            return not missing

        try:
            wait_for("everything up", settled, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {'; '.join(missing)}") from None

    def _missing(self) -> list[str]:
        paths = self.results("/api/probing/paths/?limit=100")
        links = self.results("/api/inventory/links/")
        counts = {
            "routers": (len(self.results("/api/inventory/devices/")), 6),
            "links": (len(links), 8),
            "half-links": (self.get("/api/inventory/half-links/")["count"], 16),
            "paths": (len([path for path in paths if path["role"]["value"] == "path"]), 8),
        }
        return [
            *(f"{found} of {wanted} {what}" for what, (found, wanted) in counts.items() if found != wanted),
            *(f"{row['display']} is {row['state']['value']}" for row in links + paths if row["state"]["value"] != "up"),
            *(f"open: {incident['title']}" for incident in self.open_incidents()),
        ]

    def open_incidents(self) -> list[dict[str, Any]]:
        return self.results("/api/ticketing/incidents/?state=open")

    def processes(self) -> dict[int, str]:
        """Pid and command line of runall and all its descendants."""
        parents, commands = {}, {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                except OSError:
                    continue
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: commands[pid] for pid in sorted(found) if commands.get(pid)}
