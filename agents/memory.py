"""What the gateway tells glibc (mallopt(3)), for a third of what a link costs; other C libraries go without."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3
LARGE = 128 << 10


def keep_large_apart() -> None:
    """uvloop gives each TLS connection a buffer of 256 KiB and touches a page or two of it. As a mapping of its own it
    costs just these; glibc would raise its threshold at the first one freed, and then take used memory for it."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def trim() -> None:
    """Give free pages back to the system: what a rush of links needs for a moment lies between what stays."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
