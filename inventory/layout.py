"""Places for the nodes of a map: the same graph always gives the same picture."""

import math
import random
from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

Node = TypeVar("Node", bound=Hashable)
Neighbours: TypeAlias = Mapping[Any, Collection[Any]]
PIVOTS = 60


def place(nodes: Sequence[Node], neighbours: Neighbours) -> dict[Node, tuple[float, float]]:
    """Coordinates in units of one hop, the widest axis from left to right, the first node of `nodes` on its left.

    Stress by stochastic gradient descent (Zheng, Pawar, Goodman 2018): pairs are moved towards their distance in
    hops, in random but seeded order, with a step that decays. Large graphs use PIVOTS of the nodes only.
    """
    if not nodes:
        return {}
    draw = random.Random(7)  # noqa: S311  (a seed, no secret)
    angle = 2 * math.pi / len(nodes)
    spots = {node: [math.cos(i * angle), math.sin(i * angle)] for i, node in enumerate(nodes)}
    pivots = list(nodes) if len(nodes) <= PIVOTS else draw.sample(list(nodes), PIVOTS)
    pairs = [(a, b, hops) for a in pivots for b, hops in _hops(a, nodes, neighbours).items() if a != b]
    largest = max((hops for *_, hops in pairs), default=1.0) ** 2
    rounds = 120 if len(nodes) <= PIVOTS else 20
    decay = math.log(largest / 0.02) / (rounds - 1)
    for step in range(rounds):
        draw.shuffle(pairs)
        for a, b, hops in pairs:
            _pull(spots[a], spots[b], hops, min(1.0, largest * math.exp(-decay * step) / hops**2))
    return _turned(nodes, spots)


def _hops(start: Node, nodes: Sequence[Node], neighbours: Neighbours) -> dict[Node, float]:
    """Hops from `start` to every node; those it cannot reach are put a little further than the furthest."""
    known: dict[Node, float] = {start: 0}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for other in neighbours.get(node, ()):
            if other not in known:
                known[other] = known[node] + 1
                queue.append(other)
    beyond = max(known.values()) + 1.5
    return {node: known.get(node, beyond) for node in nodes}


def _pull(a: list[float], b: list[float], hops: float, step: float) -> None:
    dx, dy = a[0] - b[0], a[1] - b[1]
    length = math.hypot(dx, dy) or 1e-9
    move = step * (length - hops) / 2 / length
    a[0], a[1], b[0], b[1] = a[0] - move * dx, a[1] - move * dy, b[0] + move * dx, b[1] + move * dy


def _turned(nodes: Sequence[Node], spots: Mapping[Node, Sequence[float]]) -> dict[Node, tuple[float, float]]:
    """Turn the cloud so that its main axis lies flat, which suits a wide screen."""
    mx, my = (sum(spot[axis] for spot in spots.values()) / len(nodes) for axis in (0, 1))
    xx = sum((x - mx) ** 2 for x, _ in spots.values())
    yy = sum((y - my) ** 2 for _, y in spots.values())
    xy = sum((x - mx) * (y - my) for x, y in spots.values())
    turn = -0.5 * math.atan2(2 * xy, xx - yy)
    cos, sin = math.cos(turn), math.sin(turn)
    flat = {n: ((x - mx) * cos - (y - my) * sin, (x - mx) * sin + (y - my) * cos) for n, (x, y) in spots.items()}
    flip = -1 if flat[nodes[0]][0] > 0 else 1
    return {node: (round(flip * x, 3), round(flip * y, 3)) for node, (x, y) in flat.items()}
