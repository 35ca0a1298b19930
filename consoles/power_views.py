"""Pages of a port's power outlet: to switch it, and how it is set up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from consoles.models import ConsoleOutlet, ConsolePort
from consoles.power import ACTIONS, outlet_of, outlet_set, power_do
from tenancy.access import needs
from tenancy.forms import refused
from tenancy.middleware import seat_of


class OutletForm(forms.Form):
    method = forms.ChoiceField(choices=[(each, each) for each in ConsoleOutlet.METHODS], initial="POST")
    off = forms.CharField(label="Address for off", max_length=500, required=False)
    on = forms.CharField(label="Address for on", max_length=500, required=False)
    cycle = forms.CharField(label="Address for a power cycle", max_length=500, required=False)
    headers = forms.CharField(
        max_length=12_000,
        required=False,
        widget=forms.Textarea({"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="One a line, as Authorization: Bearer …; never shown again. Empty keeps them, a dash takes them away",
    )

    def clean_headers(self) -> dict[str, str] | None:
        text: str = self.cleaned_data["headers"].strip()
        if not text or text == "-":
            return {} if text else None
        lines = [line.partition(":") for line in text.splitlines() if line.strip()]
        if any(not colon for _, colon, _ in lines):
            raise ValidationError("Write each line as `Name: value`.")
        return {name.strip(): value.strip() for name, _, value in lines}


@require_http_methods(["GET", "HEAD", "POST"])
@needs("change")
def outlet(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    port = get_object_or_404(ConsolePort.objects.select_related("agent"), pk=pk)
    now = outlet_of(port_id=pk)
    initial: dict[str, Any] = {name: getattr(now, name) for name in ("method", *ACTIONS)} if now else {}
    form = OutletForm(request.POST or None, initial=initial)
    if form.is_valid():
        try:
            outlet_set(port=port, **form.cleaned_data)
        except ValidationError as error:
            refused(form, error)
        else:
            messages.success(request, f"The power outlet of {port} is set up.")
            return redirect("console", seat_of(request).slug, pk)
    return render(request, "consoles/outlet.html", {"section": "consoles", "form": form, "port": port})


@require_http_methods(["GET", "HEAD", "POST"])
@needs("console.write")
def power(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Its page asks whether it is meant."""
    port = get_object_or_404(ConsolePort.objects.select_related("agent", "device"), pk=pk)
    if request.method == "POST":
        done, sentence = power_do(port_id=pk, action=request.POST.get("action", ""))
        (messages.success if done else messages.error)(request, sentence)
        return redirect("console", seat_of(request).slug, pk)
    now = outlet_of(port_id=pk)
    actions = [(each, _WORDS[each]) for each in ACTIONS if now and getattr(now, each)]
    return render(
        request, "consoles/power.html", {"section": "consoles", "port": port, "outlet": now, "actions": actions}
    )


_WORDS = {"off": "Switch it off", "on": "Switch it on", "cycle": "Off and on again"}
