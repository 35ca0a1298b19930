from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.text import slugify

from tenancy.models import User
from tenancy.services import member_set, team_create


class Command(BaseCommand):
    help = "Make a team with its first owner, who then invites the others."

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what people call it")
        parser.add_argument("--slug", help="how it stands in addresses; made from the name where it is not given")
        parser.add_argument("--owner", required=True, help="the user name of the first owner")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = User.objects.filter(username=options["owner"]).first()
        if owner is None:
            raise CommandError(f"There is no user {options['owner']!r}: make one with manage.py createsuperuser.")
        try:
            with transaction.atomic():
                team = team_create(slug=options["slug"] or slugify(options["name"]), name=options["name"])
                member_set(team=team, user=owner, role="owner")
        except ValidationError as error:
            raise CommandError(" ".join(f"{name}: {texts[0]}" for name, texts in error.message_dict.items())) from None
        self.stdout.write(f"/t/{team.slug}/")
