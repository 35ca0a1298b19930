"""What people type about rules. What is right is in consoles/rules.py; this only parses."""

from __future__ import annotations

from typing import Any

from django import forms

from consoles.models import ConsolePort, ConsoleRule
from ticketing.models import Incident


class RuleForm(forms.Form):
    name = forms.CharField(max_length=60, help_text="What its incidents are called")
    pattern = forms.CharField(
        max_length=300, strip=False, widget=forms.TextInput({"spellcheck": "false", "autocapitalize": "none"}),
        help_text="A regular expression (RE2) on each line as plain text; ^ and $ are its ends, (?i) ignores case",
    )  # fmt: skip
    severity = forms.ChoiceField(choices=Incident.Severity.choices, initial=Incident.Severity.WARNING)
    only = forms.CharField(
        label="Ports", max_length=60, required=False, widget=forms.TextInput({"placeholder": "all"}),
        help_text="Those whose device, title or name is like this, for example fw-*; empty: all",
    )  # fmt: skip
    hold_s = forms.IntegerField(
        label="Quiet after (seconds)", min_value=10, max_value=7 * 86400, initial=600,
        help_text="An incident stays one, however often the pattern matches, until it has not for so long",
    )  # fmt: skip
    enabled = forms.TypedChoiceField(
        label="State", choices=[("on", "On"), ("off", "Off")], coerce=lambda chosen: chosen == "on", initial="on"
    )

    def __init__(self, data: Any, rule: ConsoleRule | None) -> None:
        told = {name: getattr(rule, name) for name in self.base_fields} if rule else {}
        if rule:
            told["enabled"] = "on" if rule.enabled else "off"
        super().__init__(data, initial=told)


class TryForm(forms.Form):
    # Which there are is asked in the scope of a request.
    port: forms.ModelChoiceField[ConsolePort] = forms.ModelChoiceField(
        None, label="What would have matched on", required=False, empty_label="Choose a console"
    )

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        port = self.fields["port"]
        assert isinstance(port, forms.ModelChoiceField)
        port.queryset = ConsolePort.objects.order_by("title", "name")
