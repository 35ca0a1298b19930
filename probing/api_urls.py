from django.urls import path

from probing.api import CampaignDetail, CampaignList, PathList, PathMinutes

urlpatterns = [
    path("campaigns/", CampaignList.as_view(), name="api-campaigns"),
    path("campaigns/<int:campaign_id>/", CampaignDetail.as_view(), name="api-campaign"),
    path("paths/", PathList.as_view(), name="api-paths"),
    path("paths/<int:path_id>/minutes/", PathMinutes.as_view(), name="api-path-minutes"),
]
