from django.apps import AppConfig


class ProbingConfig(AppConfig):
    name = "probing"

    def ready(self) -> None:
        from agents.streams import streams
        from pi_agent.frames import PROBING
        from probing.stream import ProbingStream

        streams[PROBING] = ProbingStream()
