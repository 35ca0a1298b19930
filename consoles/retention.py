"""Logs do not stay for ever: by size the gateway drops as it writes (consoles/store.py), by age a task does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from consoles.models import ConsolePort
from consoles.store import drop, segments
from core.scope import team_scope

DAY_S = 86_400


def drop_old() -> int:
    """Drop segments that nothing was written to for NETOPS_CONSOLE_KEEP_DAYS, and the folders of ports that are gone
    for as long; returns how many of either. The newest segment of a port stays: its end says which byte comes next."""
    before = time.time() - settings.CONSOLE_KEEP_DAYS * DAY_S
    dropped = 0
    for team_id, team_folder in _numbered(settings.CONSOLE_STORE):
        with team_scope(team_id):
            ports = set(ConsolePort.objects.values_list("pk", flat=True))
        for port_id, folder in _numbered(team_folder):
            found = segments(folder)
            old = [each for each in found if _written(folder / each.name) < before]
            if port_id not in ports and len(old) == len(found) and _written(folder) < before:
                shutil.rmtree(folder, ignore_errors=True)
                dropped += 1
                continue
            for segment in old:
                if segment is not found[-1]:
                    drop(folder, segment)
                    dropped += 1
    return dropped


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """Folders that are named by an id."""
    with suppress(FileNotFoundError):
        for entry in sorted(folder.iterdir()):
            if entry.name.isascii() and entry.name.isdecimal() and entry.is_dir():
                yield int(entry.name), entry


def _written(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
