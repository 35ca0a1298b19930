"""Pages outside a team. Of django-allauth only what is used has a route, under the name that allauth asks for."""

from allauth.account import views as allauth_account
from allauth.mfa.base import views as allauth_mfa
from allauth.mfa.recovery_codes import views as allauth_codes
from allauth.mfa.totp import views as allauth_totp
from allauth.socialaccount.providers.openid_connect import views as allauth_openid
from django.urls import path

from tenancy import ssh_views, views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", views.SignIn.as_view(), name="account_login"),
    path("sign-in/", views.SignIn.as_view(), name="sign-in"),
    path("sign-in/code/", allauth_mfa.authenticate, name="mfa_authenticate"),
    path("sign-in/<slug:provider_id>/", allauth_openid.login, name="openid_connect_login"),
    path("sign-in/<slug:provider_id>/callback/", allauth_openid.callback, name="openid_connect_callback"),
    path("sign-out/", views.SignOut.as_view(), name="sign-out"),
    path("account/", views.account, name="mfa_index"),
    path("account/", views.account, name="account"),
    path("account/email/", allauth_account.email, name="account_email"),
    path("account/email/<str:key>/", allauth_account.confirm_email, name="account_confirm_email"),
    path("account/password/", allauth_account.password_change, name="account_change_password"),
    path("account/password/first/", allauth_account.password_set, name="account_set_password"),
    path("account/confirm/", allauth_account.reauthenticate, name="account_reauthenticate"),
    path("account/confirm/code/", allauth_mfa.reauthenticate, name="mfa_reauthenticate"),
    path("account/two-factor/", allauth_totp.activate_totp, name="mfa_activate_totp"),
    path("account/two-factor/off/", allauth_totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("account/recovery-codes/", allauth_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("account/recovery-codes/new/", allauth_codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("account/ssh-keys/", ssh_views.key_add, name="ssh-key-add"),
    path("account/ssh-keys/<int:pk>/remove/", ssh_views.key_remove, name="ssh-key-remove"),
    path("account/ssh-password/", ssh_views.password, name="ssh-password"),
    path("account/sessions/<int:pk>/end/", views.session_end, name="session-end"),
    path("invitations/<str:secret>/", views.invitation, name="invitation"),
]
