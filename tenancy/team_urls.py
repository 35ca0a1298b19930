"""Pages of a team about itself, under /t/<team>/team/."""

from django.urls import path

from tenancy import team_views as views

urlpatterns = [
    path("", views.members, name="team"),
    path("leave/", views.leave, name="leave"),
    path("members/<int:pk>/", views.member, name="member"),
    path("members/<int:pk>/remove/", views.member_remove, name="member-remove"),
    path("invitations/<int:pk>/again/", views.invitation_renew, name="invitation-renew"),
    path("invitations/<int:pk>/withdraw/", views.invitation_withdraw, name="invitation-withdraw"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<int:pk>/revoke/", views.token_revoke, name="token-revoke"),
    path("settings/", views.team_settings, name="team-settings"),
]
