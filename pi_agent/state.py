"""What an agent keeps in its state folder, beside its key: where it was enrolled, and how its link is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from pi_agent.fields import Fields, FrameError
from pi_agent.link import check_url
from pi_agent.post import check_server


class StateError(Exception):
    """The state folder cannot be used; the text is one sentence that says what to do."""


def prepare(folder: Path) -> None:
    """Make the folder if it is not there; only its owner may look into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make {folder} ({error.strerror}): use sudo, or name another state folder") from None


def keep(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    try:
        with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
        hand_over(draft)
        draft.replace(path)
    except OSError as error:
        raise StateError(f"cannot write {path} ({error.strerror}): use sudo, or free space") from None


def hand_over(path: Path) -> None:
    """What root makes belongs to the folder's owner: the agent itself runs as somebody else. Raises OSError."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What enrolling told: the server, the SHA-256 of its key, our name there, and where the link goes."""

    server: str
    pin: str
    agent: str
    link: str

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None if the agent was not enrolled; raises StateError."""
        path = folder / "enrolled.json"
        try:
            fields = Fields.parse(path.read_bytes(), str(path))
            server, link = check_server(fields.text("server")), check_url(fields.text("link"))
            return cls(server, fields.octets("pin", 32, 32).hex(), fields.text("agent"), link)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {path} ({error.strerror}): use sudo") from None
        except (FrameError, ValueError) as error:
            raise StateError(f"{path} is damaged ({error}): enrol again") from None

    def save(self, folder: Path) -> None:
        keep(folder / "enrolled.json", json.dumps(asdict(self), indent=1) + "\n")


def lock(folder: Path) -> IO[str]:
    """Held while the agent runs: the kernel lets go of it, however the agent ends. Raises StateError if it is taken."""
    path = folder / "lock"
    try:
        file = open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
        hand_over(path)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StateError(f"another agent runs with the state folder {folder}") from None
    except OSError as error:
        raise StateError(f"cannot write {path} ({error.strerror}): use sudo, or name another state folder") from None
    return file


def is_running(folder: Path) -> bool:
    """Raises StateError where that cannot be seen."""
    try:
        with open(folder / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise StateError(f"cannot read {folder} ({error.strerror}): use sudo") from None
    return False


@dataclass(slots=True)
class Status:
    """What a running agent tells `netops-agent status`. `since`: by the clock that counts from boot, in seconds, for a
    Pi's other clock jumps once it hears of the time; None while the link is down."""

    folder: Path | None = None
    link: str = ""
    agent: str = ""
    since: float | None = None
    error: str = ""
    ports: tuple[str, ...] = ()

    def up(self, agent: str) -> None:
        self.agent, self.since = agent, since_boot()
        self.save()

    def down(self, sentence: str) -> None:
        if self.since is not None or sentence != self.error:
            self.since, self.error = None, sentence
            self.save()

    def save(self) -> None:
        """As well as can be: an agent with a full disk still keeps its link."""
        if self.folder:
            told = {"link": self.link, "agent": self.agent, "since": self.since, "error": self.error}
            with contextlib.suppress(StateError):
                keep(self.folder / "status.json", json.dumps({**told, "ports": self.ports}) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises StateError."""
        path = folder / "status.json"
        try:
            told = json.loads(path.read_text())
            return cls(folder, told["link"], told["agent"], told["since"], told["error"], tuple(told["ports"]))
        except FileNotFoundError:
            return cls(folder)
        except OSError as error:
            raise StateError(f"cannot read {path} ({error.strerror}): use sudo") from None
        except (ValueError, KeyError, TypeError):
            raise StateError(f"{path} is damaged: restart the agent") from None


def since_boot() -> float:
    """Seconds, those asleep too."""
    return boot_clock_ns() / 1e9


def boot_clock_ns() -> int:
    """The clock that counts from boot; it never goes back, whatever NTP does."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
