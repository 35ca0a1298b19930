from django.urls import path

from inventory.prometheus import Targets

urlpatterns = [path("targets/", Targets.as_view())]
