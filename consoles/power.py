"""The power outlet of what is at a console port: an HTTP call for each action, to where the operator lets it go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils import timezone

from consoles.models import ConsoleOutlet, ConsolePort
from core.outbound import FetchError, fetch

ACTIONS = ("off", "on", "cycle")
TIMEOUT_S = 10.0
MAX_ANSWER = 1 << 20
MAX_HEADERS = 10
# RFC 9110, 5.1 and 5.5.
_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,60}"), re.compile(r"[\x20-\x7e]{1,1000}")


class Switched(NamedTuple):
    done: bool
    sentence: str


def outlet_of(*, port_id: int) -> ConsoleOutlet | None:
    return ConsoleOutlet.objects.filter(port_id=port_id).defer("headers").first()


def outlet_set(
    *, port: ConsolePort, method: str, off: str, on: str, cycle: str, headers: Mapping[str, str] | None
) -> ConsoleOutlet:
    """`headers`: None leaves them. Raises ValidationError naming the field."""
    outlet = ConsoleOutlet.objects.filter(port=port).first() or ConsoleOutlet(port=port)
    outlet.method, outlet.off, outlet.on, outlet.cycle = method, off, on, cycle
    for action in ACTIONS:
        if (url := getattr(outlet, action)) and not _is_address(url):
            raise ValidationError({action: "Enter an address that starts with https:// or http:// and names a host."})
    if headers is not None:
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or len(headers) > MAX_HEADERS:
                raise ValidationError({"headers": f"Write up to {MAX_HEADERS} lines as `Name: value`."})
        outlet.headers = dict(headers)
    outlet.full_clean(exclude=["team", "port"])
    outlet.save()
    return outlet


def power_do(*, port_id: int, action: str) -> Switched:
    """Switch the outlet of a port: `off`, `on` or `cycle`. What came of it stands in the audit trail, with who did it.
    A call may take TIMEOUT_S; of two at once the second waits for the first."""
    outlet = ConsoleOutlet.objects.select_for_update(of=("self",)).filter(port_id=port_id).first()
    url = getattr(outlet, action) if outlet and action in ACTIONS else ""
    if outlet is None or not url:
        return Switched(False, f"This port has no address for power {action[:20]}: an admin can set its outlet up.")
    try:
        body = None if outlet.method == "GET" else b""
        answer = fetch(
            outlet.method, url, headers=outlet.headers or {}, body=body, max_bytes=MAX_ANSWER, timeout=TIMEOUT_S
        )
        done, said = answer.status < 400, f"its outlet answered {answer.status}"
    except FetchError as error:
        done, said = False, str(error)
    except ValidationError as error:
        done, said = False, " ".join(error.messages)
    outlet.done, outlet.answer, outlet.at = action, said[:255], timezone.now()
    outlet.save(update_fields=["done", "answer", "at"])
    return Switched(done, f"Power {action}: {said}" if done else f"Power {action} was not done: {said}")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
