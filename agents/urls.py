"""Pages of agents, under /t/<team>/."""

from django.urls import path

from agents import views

urlpatterns = [
    path("agents/", views.agents, name="agents"),
    path("agents/enrol/", views.enrol, name="agents-enrol"),
    path("agents/tokens/<int:pk>/revoke/", views.token_revoke, name="enrolment-token-revoke"),
    path("agents/picon/", views.picon, name="picon-tokens"),
    path("agents/picon/<int:pk>/revoke/", views.picon_revoke, name="picon-token-revoke"),
    path("agents/<int:pk>/", views.agent, name="agent"),
    path("agents/<int:pk>/approve/", views.approve, name="agent-approve"),
    path("agents/<int:pk>/revoke/", views.revoke, name="agent-revoke"),
    path("agents/<int:pk>/remove/", views.remove, name="agent-remove"),
    path("agents/<int:pk>/keep/", views.keep, name="agent-keep"),
    path("agents/<int:pk>/maintenance/", views.maintenance, name="agent-maintenance"),
]
