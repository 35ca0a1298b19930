"""The seed lab as a graph, for tests of pure algorithms."""

import json
from pathlib import Path
from typing import Any

from inventory.paths import Edge, Graph, HalfLink, build_graph, reverse

LAB: dict[str, Any] = json.loads((Path(__file__).parents[1] / "lab" / "seed_lab.json").read_text())


def half_links(pairs: list[tuple[Any, Any]]) -> list[HalfLink]:
    """Both half-links of each pair of nodes; a pair that is listed twice makes parallel links."""
    return [
        HalfLink(here, there, f"{here}-{there}-{number}", f"{there}-{here}-{number}")
        for number, (a, b) in enumerate(pairs)
        for here, there in ((a, b), (b, a))
    ]


def seed_graph() -> Graph:
    return build_graph(
        half
        for link in LAB["links"]
        for half in (
            HalfLink(link["a"], link["b"], link["a_address"], link["b_address"]),
            HalfLink(link["b"], link["a"], link["b_address"], link["a_address"]),
        )
    )


def links_of(graph: Graph) -> list[tuple[Edge, Edge]]:
    """Each link as the pair of its half-links."""
    return list({key: ((u, v, key), reverse((u, v, key))) for u, v, key in graph.edges(keys=True)}.values())
