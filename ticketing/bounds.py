"""What other rooms, agents and desks say, made fit to store and to mail: one line, no control characters, bounded."""

import math
import re
from typing import Any

MAX_EVIDENCE = 16_000
# Controls and surrogates (jsonb refuses NUL), line separators, and the marks that reorder text (CVE-2021-42574).
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+")


def line(text: object, limit: int) -> str:
    """`text` as one line of at most `limit` characters; what was cut shows as an ellipsis."""
    # A first cut keeps the cost of a hostile megabyte small.
    clean = " ".join(_UNFIT.sub(" ", str(text)[: 4 * limit]).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def evidence(given: dict[str, Any]) -> dict[str, Any]:
    """`given` as plain JSON of about MAX_EVIDENCE bytes at most; `"truncated": True` where something was left out."""
    budget = _Budget()
    kept = budget.fit(given, depth=0)
    assert isinstance(kept, dict)
    return {**kept, "truncated": True} if budget.exceeded else kept


class _Budget:
    def __init__(self) -> None:
        self.left = MAX_EVIDENCE
        self.exceeded = False

    def fit(self, value: Any, depth: int) -> Any:
        self.left -= 4
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) < 2**63:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, (dict, list, tuple)) and depth < 5:
            return self._fit_many(value, depth)
        text = line(value, 300)
        self.left -= len(text)
        return text

    def _fit_many(self, value: Any, depth: int) -> Any:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        kept = {}
        for name, item in pairs:
            if self.left <= 0:
                self.exceeded = True
                break
            key = self.fit(str(name), depth) if isinstance(value, dict) else name
            kept[key] = self.fit(item, depth + 1)
        return kept if isinstance(value, dict) else list(kept.values())
