import os
import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from netops import home
from netops.rotation import rotate


class Command(BaseCommand):
    help = "Re-encrypt every secret at rest under the newest key. It may be stopped and repeated at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--new-key", action="store_true", help="make a new key first (where secrets.json keeps it)")

    def handle(self, *args: Any, **options: Any) -> None:
        outside = bool(os.environ.get("NETOPS_SECRETS_KEY"))
        if options["new_key"] and outside:
            raise CommandError(
                "The key is in NETOPS_SECRETS_KEY: put a new one in front of it there, with a comma between, restart"
                " every role, and run this without --new-key."
            )
        if options["new_key"]:
            home.secrets_keys_write([secrets.token_urlsafe(48), *home.secrets_keys()])
        outcome = rotate(self.stdout.write)
        if outcome.locked:
            named = ", ".join(outcome.locked[:10])
            raise CommandError(
                f"{len(outcome.locked)} secrets cannot be read under any of the keys ({named}): add the key they were"
                " written with at the end, or enter them anew. No key was dropped."
            )
        self.stdout.write(f"{outcome.seen} secrets, {outcome.changed} re-encrypted.")
        old = len(home.secrets_keys()) - 1
        if outside:
            self.stdout.write(
                f"{old} old keys may now leave NETOPS_SECRETS_KEY: keep the first, and restart every role."
                if old
                else "There is no old key. For a new one put it in front in NETOPS_SECRETS_KEY, with a comma between,"
                " restart every role, and run this again."
            )
        elif old:
            home.secrets_keys_write(home.secrets_keys()[:1])
            self.stdout.write("The old keys are dropped from secrets.json; running roles know the new one already.")
            self.stdout.write("Backups made until now need the old keys: keep the secrets.json saved with them.")
        else:
            self.stdout.write("There is no old key: --new-key makes a new one.")
