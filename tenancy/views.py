"""Sign-in, sign-out and the way to a team."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from tenancy.models import Seat


class SignInForm(AuthenticationForm):
    """One error for a wrong name and a wrong password alike, so that names cannot be found out."""

    error_messages = {
        "invalid_login": "That name and password do not match. Check both; capital letters count.",
        "inactive": "This account is switched off. Ask whoever runs this netops.",
    }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.label_suffix = ""
        self.fields["username"].label, self.fields["password"].label = "User name", "Password"
        for field in self.fields.values():
            field.widget.attrs["class"] = "form-control"
        if self.is_bound and self.errors:
            for field in self.fields.values():
                field.widget.attrs |= {"aria-invalid": "true", "aria-describedby": "sign-in-error"}


class SignIn(LoginView):
    template_name = "tenancy/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


class SignOut(LogoutView):
    http_method_names = ["post", "options"]


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the first team of the user, by name."""
    assert request.user.pk
    seats = Seat.of_user(request.user.pk)
    return redirect("overview", seats[0].slug) if seats else render(request, "tenancy/no_team.html")
