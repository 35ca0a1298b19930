"""The URLs of a team that is not yours: none, so that it looks like one that does not exist."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
