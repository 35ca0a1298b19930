"""Pages of consoles behind other console servers."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from agents.models import Agent
from consoles.far import far_delete, far_of, far_set
from consoles.models import ConsoleFar, ConsolePort
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of

_PROTOS = [("telnet", "Telnet (RFC 2217 where the server has it)"), ("ssh", "SSH"), ("raw", "Plain TCP")]


class FarForm(forms.Form):
    # Which there are is asked in the scope of a request.
    agent: forms.ModelChoiceField[Agent] = forms.ModelChoiceField(
        None, help_text="It dials; its own configuration must name host:port in consoles.dial"
    )
    proto = forms.ChoiceField(label="How", choices=_PROTOS)
    host = forms.CharField(max_length=253, help_text="The console server's name or address, as the agent sees it")
    number = forms.IntegerField(label="TCP port", min_value=1, max_value=65535)
    user = forms.CharField(label="User name", max_length=100, required=False, help_text="SSH only")
    secret = forms.CharField(
        label="Password",
        max_length=200,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="SSH only; empty keeps the one there is",
    )
    command = forms.CharField(max_length=200, required=False, help_text="SSH only, as console fw-1 for conserver")
    host_key = forms.CharField(
        label="Fingerprint of its key",
        max_length=100,
        required=False,
        help_text="SSH only; empty tells which it is",
    )

    def __init__(self, data: Any, far: ConsoleFar | None = None, agent: Agent | None = None) -> None:
        names = ("proto", "host", "number", "user", "command", "host_key")
        super().__init__(data, initial={name: getattr(far, name) for name in names} | {"agent": agent} if far else {})
        field = self.fields["agent"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Agent.objects.filter(pk=agent.pk) if agent else Agent.objects.order_by("name")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def create(request: HttpRequest, slug: str) -> HttpResponse:
    return _form(request, FarForm(request.POST or None), None)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def change(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    port = get_object_or_404(ConsolePort.objects.select_related("agent"), pk=pk)
    far = far_of(port_id=pk)
    if far is None:
        messages.error(request, f"{port} is a serial port of its agent: nothing is dialled for it.")
        return redirect("console-setup", seat_of(request).slug, pk)
    return _form(request, FarForm(request.POST or None, far, port.agent), port)


@require_POST
@needs("change")
def remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    port = get_object_or_404(ConsolePort, pk=pk)
    shown = str(port)
    try:
        far_delete(port=port)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("console-setup", seat_of(request).slug, pk)
    messages.success(request, f"{shown} is removed.")
    return redirect("consoles", seat_of(request).slug)


def _form(request: HttpRequest, form: FarForm, port: ConsolePort | None) -> HttpResponse:
    if form.is_valid():
        try:
            made = far_set(port=port, **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, f"{made} is dialled by {made.agent} from now on.")
            return redirect("console", seat_of(request).slug, made.pk)
    return render(request, "consoles/far.html", {"section": "consoles", "form": form, "port": port})
