"""What higher rooms show on the pages of a device or a link: they append here in AppConfig.ready."""

from collections.abc import Callable

from django.utils.safestring import SafeString

from inventory.models import Device, Link

# Called with the team in scope; the answer is HTML, empty where there is nothing to show.
device_panels: list[Callable[[Device], SafeString]] = []
link_panels: list[Callable[[Link], SafeString]] = []
