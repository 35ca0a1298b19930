from django.urls import path

from probing.api import CampaignList, PathList, PathMinutes

urlpatterns = [
    path("campaigns/", CampaignList.as_view(), name="api-campaigns"),
    path("paths/", PathList.as_view(), name="api-paths"),
    path("paths/<int:path_id>/minutes/", PathMinutes.as_view(), name="api-path-minutes"),
]
