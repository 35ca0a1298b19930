"""Bodies too long to hold: each piece is read in a team scope of its own, however slowly the client takes them.

The middleware's transaction is over when a body is streamed. One transaction for the whole body would hold a
connection for as long as the client likes; so a body pages by key, and every row that stays put is in it once.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from django.db import models
from django.http import StreamingHttpResponse

from core.scope import team_scope

PIECE = 2000
"""Rows a transaction."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def streamed(
    team_id: int, pieces: Callable[[], Iterator[str | bytes]], *, content_type: str, filename: str
) -> StreamingHttpResponse:
    """An answer to be saved as `filename`. `pieces` makes the body; it must not keep a cursor between two of them."""
    response = StreamingHttpResponse(_in_scope(team_id, pieces()), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    return response


def _in_scope(team_id: int, pieces: Iterator[str | bytes]) -> Iterator[str | bytes]:
    while True:
        with team_scope(team_id):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def by_key(queryset: models.QuerySet[Any, Any], piece: int = PIECE) -> Iterator[list[dict[str, Any]]]:
    """The rows of a values() queryset that includes "id", in order of id, `piece` of them at a time."""
    after = 0
    while rows := list(queryset.filter(id__gt=after).order_by("id")[:piece]):
        yield rows
        after = rows[-1]["id"]


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = StringIO()
    csv.writer(out).writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def csv_text(cell: str) -> str:
    """What `csv_lines` wrote, as it was."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA) else value
