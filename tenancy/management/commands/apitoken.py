from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenancy.models import Team
from tenancy.roles import ROLES
from tenancy.services import token_create


class Command(BaseCommand):
    help = "Print a new API token of a team; it is shown only this once."

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("team", help="the team's slug")
        parser.add_argument("--role", choices=ROLES, default="viewer")

    def handle(self, *args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            known = ", ".join(Team.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no team {options['team']!r}; there are: {known}.")
        self.stdout.write(token_create(team=team, role=options["role"]))
