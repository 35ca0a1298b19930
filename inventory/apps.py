from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "inventory"

    def ready(self) -> None:
        from core.drain import Drain, register
        from inventory.imports.jobs import Imports
        from inventory.models import TopologyUpdate
        from inventory.services import apply_updates

        register(Drain("topology", TopologyUpdate, "source", apply_updates))
        register(Imports())
