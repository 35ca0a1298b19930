"""How often somebody may knock at the SSH door: as at sign-in, by address and by name, but counted in this process,
because the door has to hold while Valkey is away."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

CONNECTIONS = 20
"""At once from one address."""
STRANGERS = 500
"""Connections at once that have not signed in, over all addresses."""
FAILURES, FAILURES_S = 20, 60.0
"""Of one address, before nobody is heard from there."""
WRONG, WRONG_S = 5, 300.0
"""One-time passwords for one name, before none is looked at. Keys go on: else anybody could keep somebody out."""
MOST = 10_000
"""Addresses and names that are remembered."""


class Tries:
    """At most `most` in `seconds`, of each of those that are counted."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most, self._seconds, self._now = most, seconds, now
        self._times: dict[str, deque[float]] = {}

    def count(self, who: str) -> None:
        times = self._times.pop(who, None) or deque(maxlen=self._most)
        times.append(self._now())
        self._times[who] = times  # the last to be counted is the last to be forgotten
        if len(self._times) > MOST:
            del self._times[next(iter(self._times))]

    def spent(self, who: str) -> bool:
        times = self._times.get(who)
        return times is not None and len(times) == self._most and self._now() - times[0] < self._seconds


class Limits:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.failures = Tries(FAILURES, FAILURES_S, now)
        self.wrong = Tries(WRONG, WRONG_S, now)
        self._connections: Counter[str] = Counter()
        self.strangers = 0

    def enter(self, place: str) -> bool:
        """Whether a connection from there is taken; one that is `leave`s again."""
        full = self._connections[place] >= CONNECTIONS or self.strangers >= STRANGERS
        if full or self.failures.spent(place):
            return False
        self._connections[place] += 1
        self.strangers += 1
        return True

    def leave(self, place: str) -> None:
        self._connections[place] -= 1
        if not self._connections[place]:
            del self._connections[place]


def place_of(address: str) -> str:
    """What is counted as one: an IPv4 address, or the /64 that one household of IPv6 has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or int(found) >> 64)
    return str(found)
