"""Pages of campaigns and their paths, under /t/<team>/."""

from django.urls import path

from probing import views

urlpatterns = [
    path("paths/", views.campaigns, name="paths"),
    path("campaigns/<int:pk>/", views.campaign, name="campaign"),
    path("paths/<int:pk>/", views.path, name="path"),
]
