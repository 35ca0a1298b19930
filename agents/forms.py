"""What people type on the pages of agents. Rules are in the services; these only parse."""

import re

from django import forms


class TokenForm(forms.Form):
    name = forms.CharField(label="What it is for", max_length=60, help_text="For example: branch offices")
    uses_left = forms.IntegerField(label="Machines", min_value=1, initial=1, help_text="How many it lets in")
    hours = forms.FloatField(label="Good for (hours)", min_value=0.1, max_value=8760, initial=24)
    needs_approval = forms.ChoiceField(
        label="Approval", choices=[("", "None"), ("1", "An admin compares the key")], required=False
    )

    def clean_needs_approval(self) -> bool:
        return bool(self.cleaned_data["needs_approval"])


class PiconForm(forms.Form):
    name = forms.CharField(label="What it is for", max_length=60)
    networks = forms.CharField(
        label="Networks", required=False, help_text="Where agents may register from. Empty: everywhere.",
        widget=forms.TextInput({"placeholder": "192.0.2.0/24, 2001:db8::/32"}),
    )  # fmt: skip

    def clean_networks(self) -> list[str]:
        return [text for text in re.split(r"[\s,]+", self.cleaned_data["networks"]) if text]
