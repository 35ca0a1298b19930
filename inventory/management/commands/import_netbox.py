"""manage.py import_netbox URL --team TEAM [--token-file FILE] [--dry-run]: take over what a NetBox has written down."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction

from core.outbound import FetchError
from core.scope import team_scope
from inventory.imports.report import bar, counted, diff
from inventory.netbox.importer import NotNetBox, read, write
from tenancy.models import Team


class Command(BaseCommand):
    help = "Import sites, roles, types, platforms, devices, interfaces and cables from a NetBox, all or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="address of the NetBox, such as https://netbox.example")
        parser.add_argument("--team", required=True, help="slug of the team that it is for")
        parser.add_argument("--token-file", help="a file with a token of that NetBox (else NETBOX_TOKEN has it)")
        parser.add_argument("--dry-run", action="store_true", help="show what would happen, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            raise CommandError(f"There is no team {options['team']!r}.")
        try:
            found = read(options["url"], self._token(options["token_file"]), self._reading)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except (FetchError, NotNetBox) as error:
            raise CommandError(str(error)) from None
        try:
            self._write(team, found, options["dry_run"])
        except IntegrityError:
            raise CommandError("Somebody changed the inventory at the same time: run it again.") from None

    def _write(self, team: Team, found: dict[str, list[Any]], dry_run: bool) -> None:
        plans = []
        with team_scope(team.pk):
            for plan in write(found, bar(self.stderr, "writing")):
                plans.append(plan)
                for line in diff(plan):
                    self.stdout.write(line)
            if refused := bool(plans[-1].problems):
                self.stderr.write("Nothing was written: put these right in NetBox, or here.")
            if refused or dry_run:
                transaction.set_rollback(True)
        if refused:
            sys.exit(1)
        if not any(plan.changes or plan.beside for plan in plans):
            self.stdout.write("Nothing to do: everything is as it is there.")
            return
        for plan in plans:
            self.stdout.write(counted(plan))
        if dry_run:
            self.stdout.write("Nothing was written: this was a dry run.")

    def _token(self, file: str | None) -> str:
        token = Path(file).read_text().strip() if file else os.environ.get("NETBOX_TOKEN", "").strip()
        if not token or not token.isprintable():
            raise CommandError("Give a token of that NetBox: with --token-file, or in NETBOX_TOKEN.")
        return token

    def _reading(self, name: str, done: int, total: int) -> None:
        bar(self.stderr, f"reading {name}")(done, total)
