"""What pages of incidents and links show of probing: the paths over them, as they are now."""

import re
from collections.abc import Sequence
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from core.scope import current_team_id
from inventory.models import HalfLink, Link
from probing.models import Path
from probing.selectors import PATH_FIELDS, paths_over
from tenancy.models import Team
from ticketing.models import Incident


def affected_paths(incident: Incident) -> SafeString:
    """The probed paths that cross the incident's links (element `link:1` or a list of them) or its agent's access."""
    agents = re.findall(r"agent:(\d+)", incident.element)
    links = re.findall(r"link:(\d+)", incident.element)
    paths = _over(links) if links else []
    if agents and not links:
        active = Path.objects.active().filter(campaign__agent_id__in=agents)
        paths = list(active.order_by("-role", "id").values(*PATH_FIELDS)[:200])
    return _shown(paths)


def paths_on_link(link: Link) -> SafeString:
    return _shown(_over([link.pk]))


def _over(links: Sequence[int | str]) -> list[dict[str, Any]]:
    return paths_over(HalfLink.objects.filter(link_id__in=links).values_list("pk", flat=True))


def _shown(paths: list[dict[str, Any]]) -> SafeString:
    if not paths:
        return SafeString("")
    slug = Team.objects.get(pk=current_team_id()).slug
    return render_to_string("probing/_affected.html", {"paths": paths, "slug": slug})
