"""What higher rooms show on an incident's page: they add panels to a kind of incident in AppConfig.ready."""

from collections import defaultdict
from collections.abc import Callable

from django.utils.safestring import SafeString

from ticketing.models import Incident

# kind -> what makes HTML about the element of the incident (empty where it has nothing), with its team in scope.
panels: defaultdict[str, list[Callable[[Incident], SafeString]]] = defaultdict(list)
