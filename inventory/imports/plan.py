"""The plan of an import: what would be created, what changed field by field, and what is wrong, line by line.

`make_plan` reads and changes nothing; `apply_plan` writes what it was given, in the transaction it is called in. Rows
are found by `id` where there is one, else by their names; a cell left out of the table stays as it is, an empty one
empties. What the network told us is refused as the services refuse it (inventory/written.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from django.core.exceptions import ValidationError
from django.db import models

from core import live
from core.scope import current_team_id

Record: TypeAlias = tuple[int, Mapping[str, str]]
"""The line (or number) of a row and its cells by column."""
Tick: TypeAlias = Callable[[int, int], None]
"""Told (done, total) while something takes long."""
BATCH = 1000


@dataclass(frozen=True)
class Problem:
    line: int
    column: str
    text: str


@dataclass(frozen=True)
class Change:
    """A row to be made (`before` is empty) or changed; both sides hold the columns that differ, as text."""

    line: int
    label: str
    row: Any
    before: dict[str, str]
    after: dict[str, str]


@dataclass
class Plan:
    """`beside` are rows that the others need first: sites and their like, by model."""

    table: type[Table]
    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)
    beside: dict[type[models.Model], list[Any]] = field(default_factory=dict)

    @property
    def new(self) -> list[Change]:
        return [change for change in self.changes if not change.before]

    @property
    def changed(self) -> list[Change]:
        return [change for change in self.changes if change.before]


class Refused(Exception):
    """One row cannot be, because of one column."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


class Table:
    """One kind of rows as cells. `keys` are the columns that name a row; a new one needs them all."""

    kind: ClassVar[str]
    model: ClassVar[type[Any]]
    columns: ClassVar[tuple[str, ...]]
    keys: ClassVar[tuple[str, ...]]

    def __init__(self, plan: Plan, records: Sequence[Record]) -> None:
        """Load everything that the records may speak of."""
        raise NotImplementedError

    @classmethod
    def rows(cls) -> models.QuerySet[Any]:
        """All of them, with what `text` reads."""
        raise NotImplementedError

    @staticmethod
    def text(row: Any) -> dict[str, str]:
        """A row as its cells."""
        raise NotImplementedError

    @staticmethod
    def label(row: Any) -> str:
        return str(row)

    def by_id(self, pk: int) -> Any | None:
        raise NotImplementedError

    def named(self, cells: Mapping[str, str]) -> Any | None:
        """The row that the cells name."""
        raise NotImplementedError

    def fill(self, row: Any, cells: Mapping[str, str], changed: set[str]) -> None:
        """Set what `changed` to the cells; raises Refused or ValidationError, and then `row` is not used."""
        raise NotImplementedError

    @classmethod
    def after(cls, changes: Sequence[Change]) -> None:
        """What else follows once the changes are written."""

    def find(self, cells: Mapping[str, str]) -> Any | None:
        if wanted := cells.get("id", ""):
            row = self.by_id(int(wanted)) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 19 else None
            if row is None:
                raise Refused("id", f"There is no {self.kind} {wanted[:40]!r}: leave the id empty to make a new one.")
            return row
        for name in self.keys:
            if not cells.get(name):
                raise Refused(name, f"The {name} cannot be empty.")
        return self.named(cells)


def make_plan(table: type[Table], records: Sequence[Record], tick: Tick) -> Plan:
    """What the records come to."""
    plan, seen = Plan(table), dict[int, int]()
    rows = table(plan, records)
    for done, (line, cells) in enumerate(records):
        if done % BATCH == 0:
            tick(done, len(records))
        try:
            _take(plan, rows, seen, line, {name: value.strip() for name, value in cells.items()})
        except Refused as error:
            plan.problems.append(Problem(line, error.column, str(error)))
        except ValidationError as error:
            told = error.message_dict.items()
            plan.problems += [Problem(line, column, " ".join(texts)) for column, texts in told]
    return plan


def _take(plan: Plan, rows: Table, seen: dict[int, int], line: int, cells: Mapping[str, str]) -> None:
    row = rows.find(cells)
    before = dict.fromkeys(rows.columns, "")
    if row and row.pk is None:
        raise Refused(rows.keys[-1], f"{rows.label(row)} is in the table twice.")
    if row:
        if (first := seen.setdefault(row.pk, line)) != line:
            raise Refused(rows.keys[-1], f"{rows.label(row)} is in the table twice, the first time in line {first}.")
        before = rows.text(row)
    changed = {name for name in rows.columns if name in cells and cells[name] != before[name]}
    if not row:
        row = rows.model()
        changed |= set(rows.keys)
    if changed:
        rows.fill(row, cells, changed)
    after = rows.text(row)
    differ = [name for name in rows.columns if before[name] != after[name]]
    if row.pk and not differ:
        plan.unchanged += 1
        return
    old = {name: before[name] for name in differ} if row.pk else {}
    plan.changes.append(Change(line, rows.label(row), row, old, {name: after[name] for name in differ}))


def apply_plan(plan: Plan, tick: Tick) -> None:
    """Write a plan without problems. The caller's transaction makes it all or nothing."""
    assert not plan.problems
    for model, rows in plan.beside.items():
        model._default_manager.bulk_create(rows, batch_size=BATCH)
    done, total = 0, len(plan.changes)
    for changes in (plan.new, plan.changed):
        for start in range(0, len(changes), BATCH):
            tick(done, total)
            batch = changes[start : start + BATCH]
            _write(plan.table, [change.row for change in batch], fresh=not batch[0].before)
            done += len(batch)
    plan.table.after(plan.changes)
    tick(total, total)
    live.publish(current_team_id(), "topology")


def _write(table: type[Table], rows: list[Any], *, fresh: bool) -> None:
    manager = table.model._default_manager
    if fresh:
        manager.bulk_create(rows)
        return
    kept = ("id", "team", "first_seen")
    columns = [each.name for each in table.model._meta.concrete_fields if each.name not in kept and not each.generated]
    # An upsert of whole rows: bulk_update's CASE per row and field takes seconds for 500 rows.
    manager.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=columns)
