"""What the benchmarks share: a table, a spread, and the last line of JSON."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def quick() -> bool:
    return "--quick" in sys.argv[1:]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header, in columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """min / median / max of figures."""
    return " / ".join(f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def finish(**figures: object) -> None:
    """The last line: the figures by the keys their issue names."""
    print(json.dumps(figures))
