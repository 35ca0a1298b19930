"""Every write on rules and what they found: a match opens an incident, silence resolves it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import re2
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F
from django.utils import timezone

from agents.nudges import group
from consoles.models import ConsoleMatch, ConsolePort, ConsoleRule
from consoles.packs import packs
from consoles.patterns import PatternSet, complaint
from consoles.rule_selectors import patterns_on
from core.live import publish, send_to
from core.scope import current_team_id
from ticketing.models import Incident
from ticketing.services import incident_clear, incident_report

KIND = "console-rule"
SOURCE = "rules"
MAX_ENABLED = 1000
_DECIDED = {"name", "pattern", "severity", "only", "hold_s", "enabled"}


@dataclass(frozen=True)
class Hit:
    """Lines that a rule matched at a port: the first and last by offset, and what stood around the first."""

    rule_id: int
    offset: int
    last: int
    count: int
    line: str
    around: tuple[str, ...]
    """Plain text; the line itself is marked by `> `."""


def rule_create(**values: Any) -> ConsoleRule:
    """Raises ValidationError naming the field."""
    assert set(values) <= _DECIDED | {"pack"}
    rule = ConsoleRule(**values)
    _checked(rule)
    rule.save(force_insert=True)
    _changed()
    return rule


def rule_update(*, rule: ConsoleRule, **values: Any) -> ConsoleRule:
    assert set(values) <= _DECIDED
    for name, value in values.items():
        setattr(rule, name, value)
    _checked(rule)
    rule.save(update_fields=[*values] or ["name"])
    if not rule.enabled:
        _withdraw([rule.pk], "The rule was switched off")
    _changed()
    return rule


def rule_delete(*, rule: ConsoleRule) -> None:
    _withdraw([rule.pk], "The rule was deleted")
    rule.delete()
    _changed()


def pack_switch(*, pack: str, on: bool) -> int:
    """Make and switch on the rules of a pack, or switch them off; what people changed of one stays. Returns how many.

    Raises KeyError where there is no such pack, ValidationError where there would be too many rules.
    """
    known = packs()[pack]
    rules = ConsoleRule.objects.filter(pack=pack)
    if not on:
        _withdraw(list(rules.values_list("pk", flat=True)), "The rule was switched off")
        changed: int = rules.filter(enabled=True).update(enabled=False)
    else:
        names = set(ConsoleRule.objects.values_list("name", flat=True))
        new = [each for each in known.rules if each.name not in names]
        with transaction.atomic():
            ConsoleRule.objects.bulk_create(ConsoleRule(pack=pack, **each.values()) for each in new)
            changed = len(new) + rules.filter(enabled=False).update(enabled=True)
            _fit(patterns_on())
    _changed()
    return changed


def rules_matched(*, port_id: int, looked: int, hits: Sequence[Hit]) -> None:
    """What was found at a port whose log was looked at up to `looked`. Told again, nothing happens twice."""
    port = ConsolePort.objects.select_for_update(of=("self",)).select_related("device").filter(pk=port_id).first()
    if port is None:
        return
    now = timezone.now()
    rules = {rule.pk: rule for rule in ConsoleRule.objects.filter(enabled=True, pk__in=[hit.rule_id for hit in hits])}
    for hit in sorted(hits, key=lambda hit: hit.rule_id):
        rule = rules.get(hit.rule_id)
        if rule is None or not rule.applies(port):
            continue
        told = {"offset": hit.last, "count": hit.count, "first": now, "last": now}
        match, new = ConsoleMatch.objects.get_or_create(rule=rule, port=port, defaults=told)
        if not new and hit.last > match.offset:
            again = {"offset": hit.last, "count": F("count") + hit.count, "last": now}
            ConsoleMatch.objects.filter(pk=match.pk).update(**again)
        if new or hit.last > match.offset:
            _report(rule, port, hit)
    ConsolePort.objects.filter(pk=port_id).update(looked=looked)


def rules_looked(*, places: Mapping[int, int]) -> None:
    """{port: the offset up to which its log was looked at}."""
    ConsolePort.objects.bulk_update([ConsolePort(pk=pk, looked=at) for pk, at in places.items()], ["looked"])


def rules_watch() -> int:
    """Resolve incidents of rules that have been quiet for as long as they hold; returns how many."""
    elements = set(Incident.objects.open().filter(kind=KIND).values_list("element", flat=True))
    if not elements:
        return 0
    quiet_since = ExpressionWrapper(F("last") + F("rule__hold_s") * timedelta(seconds=1), output_field=DateTimeField())
    # While its agent is away nobody hears whether a port is quiet.
    held = ConsoleMatch.objects.alias(until=quiet_since).exclude(until__lt=timezone.now(), port__agent__online=True)
    kept = {_element(*pair) for pair in held.filter(rule__enabled=True).values_list("rule_id", "port_id")}
    for element in sorted(elements - kept):
        incident_clear(kind=KIND, element=element, source=SOURCE, reason="Nothing more matched")
    return len(elements - kept)


def match_of(incident: Incident) -> ConsoleMatch | None:
    """What an incident of a rule is about."""
    rule_id, _, port_id = incident.element.removeprefix(f"{KIND}:").partition(":")
    if not (rule_id.isdecimal() and port_id.isdecimal()):
        return None
    matches = ConsoleMatch.objects.select_related("rule", "port")
    found: ConsoleMatch | None = matches.filter(rule_id=int(rule_id), port_id=int(port_id)).first()
    return found


def _report(rule: ConsoleRule, port: ConsolePort, hit: Hit) -> None:
    element = _element(rule.pk, port.pk)
    if Incident.objects.open().filter(kind=KIND, element=element).exists():
        return
    incident_report(
        kind=KIND,
        element=element,
        source=SOURCE,
        title=f"{rule.name} on {port}",
        evidence={"by": f"rule {rule.name}", "lines": list(hit.around)},
        severity=rule.severity,
        reason=hit.line,
    )


def _withdraw(rules: Collection[int], reason: str) -> None:
    pairs = ConsoleMatch.objects.filter(rule_id__in=rules).order_by("rule_id", "port_id")
    for pair in pairs.values_list("rule_id", "port_id"):
        incident_clear(kind=KIND, element=_element(*pair), source=SOURCE, reason=reason)


def _element(rule_id: int, port_id: int) -> str:
    return f"{KIND}:{rule_id}:{port_id}"


def _checked(rule: ConsoleRule) -> None:
    rule.full_clean(exclude=["team"])
    if ConsoleRule.objects.filter(name=rule.name).exclude(pk=rule.pk).exists():
        raise ValidationError({"name": "There is a rule of this name already."})
    if wrong := complaint(rule.pattern):
        raise ValidationError({"pattern": wrong})
    if rule.enabled:
        _fit([*((pk, pattern) for pk, pattern in patterns_on() if pk != rule.pk), (rule.pk or 0, rule.pattern)])


def _fit(patterns: Sequence[tuple[int, str]]) -> None:
    if len(patterns) > MAX_ENABLED:
        raise ValidationError({"enabled": f"A team can have {MAX_ENABLED} rules on: switch others off first."})
    try:
        PatternSet(patterns)
    except re2.error:
        wrong = "Together with the other rules the pattern is too large: make its repetitions smaller."
        raise ValidationError({"pattern": wrong}) from None


def _changed() -> None:
    """Gateways look again: each hears of an agent that it serves."""
    for agent_id in ConsolePort.objects.order_by("agent_id").values_list("agent_id", flat=True).distinct():
        send_to(group(agent_id), {"type": "consoles"})
    publish(current_team_id(), "consoles")
