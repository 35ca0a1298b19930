"""What people type about a console port. Rules are in the services; this only parses."""

from typing import Any

from django import forms

from consoles.log_models import ConsoleLogSettings
from consoles.models import ConsolePort
from inventory.models import Device
from pi_agent.lines import BAUDS, FLOWS, PARITIES

_FLOW = {"none": "none", "rtscts": "RTS/CTS", "xonxoff": "XON/XOFF"}


class PortForm(forms.Form):
    title = forms.CharField(max_length=60, required=False, help_text="How it is called here; empty: as at the agent")
    # Which there are is asked in the scope of a request.
    device: "forms.ModelChoiceField[Device]" = forms.ModelChoiceField(
        None, required=False, empty_label="None yet", help_text="Whose console it is"
    )
    baud = forms.TypedChoiceField(label="Speed", choices=[(each, f"{each} baud") for each in BAUDS], coerce=int)
    parity = forms.ChoiceField(choices=[(each, each) for each in PARITIES])
    flow = forms.ChoiceField(label="Flow control", choices=[(each, _FLOW[each]) for each in FLOWS])
    testing = forms.TypedChoiceField(
        label="Tests",
        choices=[(True, "Regularly"), (False, "Never")],
        coerce=lambda value: value == "True",
        help_text="A newline is sent and the prompt looked at; never while somebody writes",
    )
    notes = forms.CharField(max_length=2000, required=False, widget=forms.Textarea({"rows": 3}))

    def __init__(self, data: Any, port: ConsolePort, baud: str = "") -> None:
        """`baud`: a speed that is offered instead of the port's own."""
        initial = {name: getattr(port, name) for name in self.base_fields}
        super().__init__(data, initial=initial | ({"baud": baud} if baud in map(str, BAUDS) else {}))
        device = self.fields["device"]
        assert isinstance(device, forms.ModelChoiceField)
        device.queryset = Device.objects.order_by("name")


class LogSettingsForm(forms.Form):
    syslog_host = forms.CharField(
        label="Syslog server",
        max_length=255,
        required=False,
        help_text="Gets each line of each console; empty: none does",
    )
    syslog_port = forms.IntegerField(label="Port", min_value=1, max_value=65535)
    syslog_protocol = forms.ChoiceField(label="Protocol", choices=[("tcp", "TCP"), ("udp", "UDP")])
    record_typed = forms.TypedChoiceField(
        label="What people type",
        choices=[("0", "Is not recorded"), ("1", "Is recorded, with who typed it")],
        coerce=lambda text: text == "1",
        help_text="Only what the device echoed: passwords are not",
    )

    def __init__(self, data: Any, settings: ConsoleLogSettings) -> None:
        initial = {name: getattr(settings, name) for name in self.base_fields}
        super().__init__(data, initial=initial | {"record_typed": "1" if settings.record_typed else "0"})
