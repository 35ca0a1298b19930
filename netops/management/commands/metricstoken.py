from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Print the token that /metrics asks for (NETOPS_METRICS_TOKEN, or made once and kept)."

    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(settings.METRICS_TOKEN)
