from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from netops import embedded, home


class Command(BaseCommand):
    help = (
        "Bring the database up to date: its roles where it is embedded, migrations, walls, partitions. Safe to repeat."
    )

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also load the demo team and its lab")

    def handle(self, *args: Any, **options: Any) -> None:
        if home.embedded():
            postgres = embedded.Postgres(home.data(), home.port("postgres"))
            passwords = {role: home.secret(f"database_{role}") for role in ("owner", "app")}
            embedded.create_roles(postgres, home.secret("database_superuser"), passwords, "netops")
        call_command("migrate", database="owner", verbosity=0)
        from probing.tasks import ensure_partitions

        ensure_partitions()
        if options["demo"]:
            from netops.demo import load_demo

            load_demo()
