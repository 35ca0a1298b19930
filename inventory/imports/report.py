"""A plan for the terminal: a progress bar while it is made, then the diff."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from inventory.imports.plan import Plan

WIDTH = 30


def bar(stream: Any, label: str) -> Callable[[int, int], None]:
    """A tick that draws; silent where nobody watches."""

    def tick(done: int, total: int) -> None:
        if stream.isatty() and total:
            filled = WIDTH * done // total
            end = "\n" if done == total else ""
            stream.write(f"\r{label} [{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {total}{end}", ending="")
            stream.flush()

    return tick


def diff(plan: Plan) -> Iterator[str]:
    """One line for each thing that is new, changed or wrong."""
    for model, rows in plan.beside.items():
        yield from (f"+ {model._meta.verbose_name} {row}" for row in rows)
    for change in plan.changes:
        kind = f"{plan.table.kind} {change.label}"
        if change.before:
            yield f"~ {kind}: " + ", ".join(f"{n} {change.before[n]!r} → {v!r}" for n, v in change.after.items())
        else:
            yield f"+ {kind}: " + ", ".join(f"{n} {value!r}" for n, value in change.after.items() if value)
    for problem in plan.problems:
        yield f"! line {problem.line}, {problem.column or 'table'}: {problem.text}"


def counted(plan: Plan) -> str:
    beside = sum(len(rows) for rows in plan.beside.values())
    new = len(plan.new) + beside
    return f"{plan.table.kind}s: {new} new, {len(plan.changed)} changed, {plan.unchanged} unchanged"
