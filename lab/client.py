"""Talk to a running lab."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

SOCKET = "control.sock"
TIMEOUT = 30.0


class LabError(Exception):
    """What the lab could not do, or why it cannot be reached; one sentence."""


def request(state: Path, cmd: str, **args: object) -> dict[str, Any]:
    """Send one command to the lab whose state folder is given; its answer. Raises LabError."""
    path = state / SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(path))
            connection.sendall(json.dumps({"cmd": cmd, **args}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        raise LabError(f"no lab is running at {state}, start it first") from None
    except OSError as error:
        raise LabError(f"cannot talk to the lab at {path}: {error}") from None
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        raise LabError(f"the lab at {state} ended before it answered") from None
    if not answer.get("ok"):
        raise LabError(str(answer.get("error")))
    return answer
