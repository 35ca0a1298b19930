"""What higher rooms show on an incident's page: they register one panel per kind of incident in AppConfig.ready."""

from collections.abc import Callable

from django.utils.safestring import SafeString

from ticketing.models import Incident

# kind -> HTML about the element of the incident, called with the incident's team in scope.
panels: dict[str, Callable[[Incident], SafeString]] = {}
