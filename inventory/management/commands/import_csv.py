"""manage.py import_csv KIND FILE --team TEAM [--commit]: a table of devices, interfaces or links, as the import page
takes it. Without --commit it shows what would happen."""

import sys
from argparse import ArgumentParser, FileType
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from core.scope import team_scope
from inventory.imports.jobs import commit_plan
from inventory.imports.plan import make_plan
from inventory.imports.report import bar, counted, diff
from inventory.imports.tables import TABLES
from inventory.imports.text import decoded, records
from tenancy.models import Team


class Command(BaseCommand):
    help = "Import a table of devices, interfaces or links from a CSV file; a dry run unless --commit is given."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=sorted(TABLES))
        parser.add_argument("file", type=FileType("rb"), help="a CSV file in UTF-8, or - for the standard input")
        parser.add_argument("--team", required=True, help="slug of the team")
        parser.add_argument("--commit", action="store_true", help="write it, all or nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']!r}.")
        file = options["file"]
        try:
            rows = records(options["kind"], decoded(getattr(file, "buffer", file).read()))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        with team_scope(team.pk):
            plan = make_plan(TABLES[options["kind"]], rows, bar(self.stderr, "checking"))
            if options["commit"] and not plan.problems:
                commit_plan(plan, bar(self.stderr, "writing"))
        for line in diff(plan):
            self.stdout.write(line)
        if plan.problems:
            self.stderr.write(f"{len(plan.problems)} problems: nothing was written.")
            sys.exit(1)
        self.stdout.write(counted(plan))
        if not options["commit"]:
            self.stdout.write("Nothing was written: run it again with --commit.")
