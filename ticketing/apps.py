from django.apps import AppConfig


class TicketingConfig(AppConfig):
    name = "ticketing"

    def ready(self) -> None:
        from core.drain import register
        from ticketing.outbox import drain

        register(drain)
