from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from agents.enrolment import enrolment_token_create, join_token
from core.scope import at_the_command_line, team_scope
from tenancy.models import Team


class Command(BaseCommand):
    help = "Print a new token with which machines enrol as agents of a team; it is shown only this once."

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("team", help="the team's slug")
        parser.add_argument("--name", default="Command line", help="what it is for")
        parser.add_argument("--uses", type=int, default=1, help="how many machines it lets in")
        parser.add_argument("--ttl", type=float, default=24, metavar="HOURS", help="how long it is good")
        parser.add_argument("--approval", action="store_true", help="agents wait until an admin has approved them")

    def handle(self, *args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if team is None:
            known = ", ".join(Team.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no team {options['team']!r}; there are: {known}.")
        try:
            with at_the_command_line(), team_scope(team.pk):
                _, secret = enrolment_token_create(
                    name=options["name"],
                    uses_left=options["uses"],
                    expires=timezone.now() + timedelta(hours=options["ttl"]),
                    needs_approval=options["approval"],
                )
        except (ValidationError, OverflowError) as error:
            raise CommandError(" ".join(getattr(error, "messages", ["Give fewer hours."]))) from None
        self.stdout.write(join_token(secret))
