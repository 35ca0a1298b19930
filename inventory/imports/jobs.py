"""Imports that a worker does: first the diff, then, once somebody said so, the whole of it in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import drain, live
from core.scope import acting, current_team_id, team_scope
from inventory.imports.plan import Plan, Problem, apply_plan, make_plan
from inventory.imports.tables import TABLES
from inventory.imports.text import records
from inventory.models import InventoryImport
from tenancy.models import User

KEPT = timedelta(days=7)
SHOWN = 200
"""Changes and problems that a result lists; it counts all."""


def import_start(*, kind: str, text: str, user: User) -> InventoryImport:
    """Have a table checked; raises ValidationError where it makes no sense as a whole."""
    if kind not in TABLES:
        raise ValidationError({"kind": f"Choose one of {', '.join(TABLES)}."})
    rows = records(kind, text)
    if not rows:
        raise ValidationError({"text": "The table has no rows."})
    InventoryImport.objects.filter(created__lt=timezone.now() - KEPT).delete()
    made: InventoryImport = InventoryImport.objects.create(kind=kind, text=text, total=len(rows), user=user)
    drain.nudge("imports", current_team_id(), made.pk)
    return made


def import_commit(*, row: InventoryImport, user: User) -> None:
    """Have a checked table written. It is planned again then: what changed meanwhile counts."""
    locked = InventoryImport.objects.select_for_update(no_key=True).get(pk=row.pk)
    if locked.state != InventoryImport.State.CHECKED:
        raise ValidationError(f"This table is not waiting for you: it is {locked.get_state_display().lower()}.")
    locked.state, locked.user = InventoryImport.State.COMMITTING, user
    locked.save(update_fields=["state", "user"])
    drain.nudge("imports", current_team_id(), row.pk)


def progress(pk: int) -> tuple[int, int]:
    """(done, total) of the import that a worker has in hand: it is kept beside the transaction, which shows nothing."""
    found: tuple[int, int] = cache.get(f"import.{pk}") or (0, 0)
    return found


class Imports:
    """A drain (core/drain.py) whose keys are the imports themselves: a killed worker's is done again from its start."""

    name = "imports"

    def run(self, team_id: int, key_id: int) -> int:
        with team_scope(team_id):
            who = InventoryImport.objects.filter(pk=key_id).values_list("user_id", "user__username").first()
        if who is None:
            return 0
        with acting(door="import", user=who[0], name=who[1]), team_scope(team_id):
            waiting = InventoryImport.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
            row = waiting.filter(pk=key_id, state__in=InventoryImport.BUSY).first()
            if row is None:
                return 0
            _work(row)
            live.publish(team_id, "imports")
        return 1


def _work(row: InventoryImport) -> None:
    def tick(done: int, total: int) -> None:
        cache.set(f"import.{row.pk}", (done, total), 600)

    commit = row.state == InventoryImport.State.COMMITTING
    plan = make_plan(TABLES[row.kind], records(row.kind, row.text), tick)
    if not plan.problems and commit:
        commit_plan(plan, tick)
    row.state = row.State.REFUSED if plan.problems else row.State.DONE if commit else row.State.CHECKED
    row.result, row.changed = summary(plan), timezone.now()
    if not commit or plan.problems:
        row.save(update_fields=["state", "result", "changed"])
        return
    row.text = ""
    row.save(update_fields=["state", "result", "changed", "text"])


def commit_plan(plan: Plan, tick: Any) -> None:
    """Write it, or say as a problem that it cannot be any more."""
    try:
        with transaction.atomic():
            apply_plan(plan, tick)
    except IntegrityError:
        text = "Somebody changed the inventory at the same time: check the table again."
        plan.problems.append(Problem(0, "", text))


def summary(plan: Plan) -> dict[str, Any]:
    """A plan as JSON: counts, and the first of its changes and problems."""
    return {
        "new": len(plan.new),
        "changed": len(plan.changed),
        "unchanged": plan.unchanged,
        "beside": [f"{row._meta.verbose_name} {row}" for rows in plan.beside.values() for row in rows][:SHOWN],
        "problem_count": len(plan.problems),
        "problems": [[each.line, each.column, each.text] for each in plan.problems[:SHOWN]],
        "changes": [
            {
                "line": each.line,
                "label": each.label,
                "new": not each.before,
                "fields": [[name, each.before.get(name, ""), value] for name, value in each.after.items()],
            }
            for each in plan.changes[:SHOWN]
        ],
    }
