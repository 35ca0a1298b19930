from consoles.api import ConsolePorts

urlpatterns = [*ConsolePorts.urls()]
