from django.urls import path

from consoles.api import ConsolePorts
from consoles.program_api import Run, Socket, Ticket
from consoles.rule_api import ConsoleRules

urlpatterns = [
    *ConsolePorts.urls(),
    *ConsoleRules.urls(),
    path("ports/<int:pk>/ticket/", Ticket.as_view()),
    path("ports/<int:pk>/run/", Run.as_view()),
    path("ports/<int:pk>/socket/", Socket.as_view()),
]
