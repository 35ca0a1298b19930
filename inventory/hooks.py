"""What higher rooms want to know of the topology; they add themselves in AppConfig.ready."""

from collections.abc import Callable

# Called with (team id, new version) inside the transaction that changed the graph.
on_topology_change: list[Callable[[int, int], None]] = []
