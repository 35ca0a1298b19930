from django.apps import AppConfig


class ProbingConfig(AppConfig):
    name = "probing"

    def ready(self) -> None:
        from agents.hooks import needed_for
        from agents.streams import streams
        from core import drain
        from inventory.hooks import on_topology_change
        from inventory.panels import link_panels
        from pi_agent.frames import PROBING
        from probing.models import ReportBatch
        from probing.panels import affected_paths, paths_on_link
        from probing.services import PlanRunner, campaigns_from, campaigns_replan
        from probing.stream import ProbingStream, take_reports
        from ticketing.panels import panels

        streams[PROBING] = ProbingStream()
        drain.register(drain.Drain("reports", ReportBatch, "agent", take_reports, batch=64))
        drain.register(PlanRunner())
        needed_for.append(campaigns_from)
        on_topology_change.append(campaigns_replan)
        link_panels.append(paths_on_link)
        panels["link"].append(affected_paths)
        panels["access"].append(affected_paths)
