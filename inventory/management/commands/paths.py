"""manage.py paths SOURCE TARGET: the paths between two endpoints or devices, one a line."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from core.scope import team_scope
from tenancy.models import Team


class Command(BaseCommand):
    help = "List the paths between two endpoints or devices of a team."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source")
        parser.add_argument("target")
        parser.add_argument("--team", default="demo", help="slug of the team (default: demo)")
        parser.add_argument("--policy", default="all", choices=["all", "all_shortest", "k_shortest", "within_hops"])
        parser.add_argument("--value", type=int, help="k of k_shortest, extra links of within_hops")
        parser.add_argument("--cap", type=int, default=1000, help="list at most so many (default: 1000)")

    def handle(self, *args: Any, **options: Any) -> None:
        from inventory.graph import find_paths
        from inventory.paths import PathError

        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            teams = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True)[:20])
            self._fail(f"There is no team {options['team']!r}: use one of {teams or '(none yet)'}.")
            return
        question = (options[name] for name in ("source", "target", "policy", "value", "cap"))
        try:
            with team_scope(team.pk):
                found = find_paths(*question)
        except PathError as error:
            self._fail(str(error))
            return
        for route in found.routes:
            self.stdout.write(" ".join(route.hops))
        noun = "path" if found.count == 1 else "paths"
        more = f" (truncated: {len(found.routes)} listed, there are more; raise --cap)" if found.truncated else ""
        self.stdout.write(f"{found.count} {noun}{more}")

    def _fail(self, sentence: str) -> None:
        self.stderr.write(sentence)
        sys.exit(1)
