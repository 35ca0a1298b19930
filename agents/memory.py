"""What the gateway tells glibc (mallopt(3)), for a third of what a link costs; other C libraries go without."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE = 128 << 10


def prepare() -> None:
    """Before the first thread. uvloop gives each TLS connection a buffer of 256 KiB and touches a page or two of it. As
    a mapping of its own it costs just these; glibc would raise its threshold at the first one freed, and then take used
    memory for it. And what threads leave free is for everybody, for they do not run at the same time anyway."""
    with suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Give free pages back to the system: what a rush of links needs for a moment lies between what stays."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
