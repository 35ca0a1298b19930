"""Pages of consoles, under /t/<team>/."""

from django.urls import path

from consoles import far_views, log_views, power_views, rule_views, search_views, split_views, views

urlpatterns = [
    path("consoles/", views.consoles, name="consoles"),
    path("consoles/search/", search_views.search, name="console-search"),
    path("consoles/settings/", search_views.log_settings, name="console-log-settings"),
    path("consoles/<int:pk>/", views.console, name="console"),
    path("consoles/<int:pk>/ticket/", views.ticket, name="console-ticket"),
    path("consoles/<int:pk>/test/", views.check, name="console-test"),
    path("consoles/<int:pk>/detect/", views.detect, name="console-detect"),
    path("consoles/<int:pk>/setup/", views.setup, name="console-setup"),
    path("consoles/new/", far_views.create, name="console-new"),
    path("consoles/<int:pk>/far/", far_views.change, name="console-far"),
    path("consoles/<int:pk>/remove/", far_views.remove, name="console-remove"),
    path("consoles/<int:pk>/outlet/", power_views.outlet, name="console-outlet"),
    path("consoles/<int:pk>/power/", power_views.power, name="console-power"),
    path("consoles/<int:pk>/log/", log_views.log, name="console-log"),
    path("consoles/<int:pk>/log/line/", log_views.line, name="console-log-line"),
    path("consoles/<int:pk>/log/data/", log_views.data, name="console-log-data"),
    path("consoles/<int:pk>/log/<slug:shape>/", log_views.saved, name="console-saved"),
    path("consoles/split/", split_views.split, name="consoles-split"),
    path("consoles/rules/", rule_views.rule_list, name="console-rules"),
    path("consoles/rules/new/", rule_views.rule_new, name="console-rule-new"),
    path("consoles/rules/<int:pk>/", rule_views.rule_edit, name="console-rule"),
    path("consoles/rules/<int:pk>/delete/", rule_views.rule_remove, name="console-rule-delete"),
    path("consoles/rules/packs/<slug:pack>/", rule_views.pack_switch, name="console-pack"),
]
