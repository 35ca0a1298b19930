from django.urls import path

from agents import doors
from agents.api import Agents, Approve, EnrolmentTokens, Keep, PiconTokens, Revoke

urlpatterns = [
    path("enrol/", doors.enrol, name="agent-enrol"),
    path("register/", doors.register, name="agent-register"),
    path("heartbeat/", doors.heartbeat, name="agent-heartbeat"),
    path("rotate/", doors.rotate, name="agent-rotate"),
    *Agents.urls(),
    path("agents/<int:pk>/approve/", Approve.as_view()),
    path("agents/<int:pk>/keep/", Keep.as_view()),
    path("agents/<int:pk>/revoke/", Revoke.as_view()),
    *EnrolmentTokens.urls(),
    *PiconTokens.urls(),
]
