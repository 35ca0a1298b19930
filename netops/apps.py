from django.apps import AppConfig
from django.db.models.signals import post_migrate


class NetopsConfig(AppConfig):
    name = "netops"

    def ready(self) -> None:
        from netops.walls import raise_walls

        post_migrate.connect(raise_walls, sender=self)
