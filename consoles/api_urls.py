from consoles.api import ConsolePorts
from consoles.rule_api import ConsoleRules

urlpatterns = [*ConsolePorts.urls(), *ConsoleRules.urls()]
