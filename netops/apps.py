from django.apps import AppConfig
from django.db.models.signals import post_migrate


class NetopsConfig(AppConfig):
    name = "netops"

    def ready(self) -> None:
        # Without it shared tasks belong to a default application that knows neither our broker nor our settings.
        import netops.celery  # noqa: F401
        from netops.walls import raise_walls

        post_migrate.connect(raise_walls, sender=self)
