"""Tables as CSV (RFC 4180): read from a file or a paste, written for export. What one team exports it can import again,
and that changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet

from core.streaming import by_key, csv_lines, csv_text
from inventory.imports.plan import Record
from inventory.imports.tables import TABLES
from inventory.models import Device, Interface, Link

MAX_BYTES, MAX_ROWS = 20_000_000, 200_000
_MODELS: dict[str, type[models.Model]] = {"devices": Device, "interfaces": Interface, "links": Link}
_LOOKUPS = {
    "site": "site__name", "role": "role__name", "manufacturer": "device_type__manufacturer__name",
    "device_type": "device_type__name", "platform": "platform__name", "device": "device__name",
    "a_device": "a_device__name", "a_interface": "a_interface__name", "z_device": "z_device__name",
    "z_interface": "z_interface__name",
}  # fmt: skip


def decoded(data: bytes) -> str:
    """The text of an uploaded file; raises ValidationError."""
    if len(data) > MAX_BYTES:
        raise ValidationError({"file": f"A table is at most {MAX_BYTES // 1_000_000} MB: split it."})
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationError({"file": "This is not UTF-8 text: save the table as CSV in UTF-8."}) from None


def records(kind: str, text: str) -> list[Record]:
    """The rows of a CSV text with a header; raises ValidationError where the table as a whole makes no sense."""
    if "\0" in text:
        raise ValidationError({"text": "A NUL character is in no table: save it as CSV in UTF-8."})
    text = text.removeprefix("\ufeff")
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(kind, names)
        found: list[Record] = []
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(names):
                    raise ValidationError({"text": f"Line {line} has {len(cells)} cells, the header {len(names)}."})
                found.append((line, dict(zip(names, map(csv_text, cells), strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValidationError({"text": f"Line {reader.line_num} is no CSV: {error}."}) from None
    if len(found) > MAX_ROWS:
        raise ValidationError({"text": f"A table has at most {MAX_ROWS:,} rows: split it."})
    return found


def _check_header(kind: str, names: list[str]) -> None:
    table = TABLES[kind]
    known = ("id", *table.columns)
    if unknown := [name for name in names if name not in known]:
        raise ValidationError({"text": f"There is no column {unknown[0]!r}: the columns are {', '.join(known)}."})
    if twins := [name for name in names if names.count(name) > 1]:
        raise ValidationError({"text": f"The column {twins[0]!r} is there twice."})
    if "id" not in names and (missing := [name for name in table.keys if name not in names]):
        raise ValidationError({"text": f"The column {missing[0]!r} is missing: its first line names the columns."})


def exported(kind: str) -> Iterator[str]:
    """All of the team in scope as CSV, a piece at a time (core.streaming.streamed)."""
    columns = ("id", *TABLES[kind].columns)
    lookups = [_LOOKUPS.get(column, column) for column in columns]
    yield csv_lines([columns])
    rows: QuerySet[models.Model] = _MODELS[kind]._default_manager.all()
    for piece in by_key(rows.values(*lookups)):
        yield csv_lines([["" if row[lookup] is None else row[lookup] for lookup in lookups] for row in piece])
