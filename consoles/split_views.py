"""Several terminals on one page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from consoles.models import ConsolePort
from tenancy.access import needs

FEWEST, MOST = 2, 4
_OFFERED = 200


@require_safe
@needs("console.read")
@never_cache
def split(request: HttpRequest, slug: str) -> HttpResponse:
    """`?port=1&port=2`: those consoles side by side; with fewer than two, a page to choose them."""
    asked = list(dict.fromkeys(request.GET.getlist("port")))[: MOST + 1]
    numbers = [int(each) for each in asked if each.isdecimal() and len(each) < 18]
    known = {port.pk: port for port in ConsolePort.objects.filter(pk__in=numbers).select_related("agent", "device")}
    ports = [known[number] for number in numbers if number in known]
    for each in asked:
        if not each.isdecimal() or int(each[:18]) not in known:
            messages.error(request, f"There is no console {each[:20]} in this team.")
    if len(ports) > MOST:
        messages.error(request, f"At most {MOST} consoles fit side by side: the others are left out.")
    if len(ports) >= FEWEST:
        return render(request, "consoles/split.html", {"section": "consoles", "ports": ports[:MOST]})
    offered = ConsolePort.objects.select_related("agent", "device").order_by("title", "name")[:_OFFERED]
    context = {"section": "consoles", "offered": offered, "chosen": [port.pk for port in ports], "most": MOST}
    return render(request, "consoles/split_choose.html", context)
