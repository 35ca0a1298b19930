from django.urls import path

from agents.api import AgentList

urlpatterns = [path("agents/", AgentList.as_view(), name="api-agents")]
