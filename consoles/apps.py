from django.apps import AppConfig


class ConsolesConfig(AppConfig):
    name = "consoles"

    def ready(self) -> None:
        from agents import hooks, streams
        from consoles import forward
        from consoles.check_services import checks_end
        from consoles.lines import Taker
        from consoles.panels import agent_consoles, device_consoles, incident_consoles, link_consoles, rule_match
        from consoles.rules import KIND
        from consoles.services import ports_told
        from core.drain import register
        from inventory.panels import device_panels, link_panels
        from ticketing.panels import panels

        register(Taker())
        register(forward.drain)

        def hub() -> streams.Hub:
            from consoles.hub import Hub  # only the gateway needs it

            return Hub()

        streams.hub_makers.append(hub)
        hooks.on_ports.append(ports_told)
        hooks.on_gone.append(checks_end)
        hooks.consoles_of.append(agent_consoles)
        device_panels.append(device_consoles)
        link_panels.append(link_consoles)
        for kind in ("link", "access", "console", KIND):
            panels[kind].append(incident_consoles)
        panels[KIND].append(rule_match)
