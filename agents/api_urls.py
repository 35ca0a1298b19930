from agents.api import Agents

urlpatterns = [*Agents.urls()]
