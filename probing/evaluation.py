"""From path states to incidents: which link explains what the walks of a campaign lose, and when it is over.

A fault is reported once the localiser has named it for a moment, so that one unlucky interval opens nothing. What is
reported is kept in `Campaign.verdict` and taken back when probes over it pass again, when the evidence has moved on, or
when no walk crosses it any more: nothing stays open because its walks vanished.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from inventory.models import HalfLink
from probing.detection import Detector, shared_window
from probing.localisation import Candidate, Fault, Verdict, WalkEvidence, link_candidates, localise
from probing.models import Campaign, Path
from probing.states import detector_of
from ticketing.services import incident_clear, incident_report

# Seconds, by the clock of the evidence.
CONFIRM, CONFIRM_UNSTABLE = 0.2, 1.5
"""How long a fault is named before it is reported: when the verdict is stable, and when more probes could change it."""
ELSEWHERE = 3.0
"""How long a reported fault must be out of the verdict, while walks over it are bad, to be taken back."""
RECENT = 3.0
"""Beside hard loss only so much is looked at, so that of two faults the one that is over is seen to be."""
RETOLD = 5.0
"""How often an incident's evidence is brought up to date, and how long a new direction or severity must last."""
LOST_RUN = 3
ACCESS = "access"


@dataclass(frozen=True)
class Seen:
    """A walk with what it says."""

    path: Path
    detector: Detector

    @property
    def half_links(self) -> tuple[int, ...]:
        return (*self.path.out, *self.path.back)

    @property
    def bad(self) -> bool:
        return self.detector.suspected > 0


@dataclass(frozen=True)
class Finding:
    """A fault in the words of an incident. `parts`: ids of the links that may be it, and ACCESS."""

    parts: tuple[str, ...]
    half_links: tuple[int, ...]
    direction: str
    what: str
    down: bool
    rate: float
    gain: float
    reason: str

    @property
    def kind(self) -> str:
        return ACCESS if self.parts == (ACCESS,) else "link"

    @property
    def title(self) -> str:
        return (
            f"{self.what} is down" if self.down else f"{self.what} loses packets ({max(1, round(self.rate * 100))} %)"
        )

    @property
    def shape(self) -> str:
        return f"{self.what} {'down' if self.down else 'loss'}"

    def element(self, agent_id: int) -> str:
        names = [f"agent:{agent_id}" if part == ACCESS else f"link:{part}" for part in self.parts]
        text = ",".join(names)
        return text if len(text) <= 80 else f"links:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def evaluate(campaign: Campaign, paths: Iterable[Path] | None = None) -> None:
    """Weigh the evidence of all walks, and open, update or clear this campaign's incidents.

    The campaign's row must be locked. `paths`: its paths as they are now, if they are at hand.
    """
    if paths is None:
        paths = Path.objects.active().filter(campaign=campaign)
    walks = [Seen(path, detector_of(path)) for path in paths if path.active]
    known = [walk for walk in walks if walk.path.state != Path.State.UNKNOWN]
    before = campaign.verdict
    window = shared_window(walk.detector for walk in known)
    if not window and not before:
        return
    recent = math.ceil(campaign.rate * RECENT)
    if brief := window > recent and any(walk.detector.hard for walk in known):
        window = recent
    now = max((walk.path.heard.timestamp() for walk in known if walk.path.heard), default=0.0)
    findings: list[Finding] = []
    verdict = Verdict((), (), True)
    if window:
        network = _Network(campaign, {each for walk in known for each in walk.half_links})
        counts = [WalkEvidence(w.path.pk, w.half_links, *w.detector.evidence(window)) for w in known]
        verdict = localise(counts, network.candidates)
        findings = [network.finding(fault, known, window) for fault in verdict.faults]
        scores = network.scores(verdict)
    else:
        scores = []
    ledger = _Ledger(campaign, now, copy.deepcopy(before), scores, brief)
    for finding in findings:
        ledger.name(finding, verdict.stable, known)
    ledger.settle(walks, [finding.title for finding in findings])
    campaign.verdict = ledger.to_json() if findings or ledger.held else {}
    if campaign.verdict != before:
        campaign.save(update_fields=["verdict"])


class _Network:
    """The links around some half-links, as candidates and in words."""

    def __init__(self, campaign: Campaign, half_links: set[int]) -> None:
        self._agent = campaign.agent.name
        links = HalfLink.objects.filter(pk__in=half_links).values("link_id")
        rows = HalfLink.objects.filter(link_id__in=links).order_by("pk")
        self._link: dict[int, int] = {}
        self._arrow: dict[int, str] = {}
        self._name: dict[int, str] = {}
        halves: dict[int, list[int]] = {}
        for pk, link, name, near, far in rows.values_list(
            "pk", "link_id", "link__name", "device__name", "remote_device__name"
        ):
            self._link[pk], self._arrow[pk], self._name[link] = link, f"{near}→{far}", name
            halves.setdefault(link, []).append(pk)
        self.candidates = link_candidates([(pair[0], pair[1]) for pair in halves.values() if len(pair) == 2])
        self.candidates += [Candidate("half_link", frozenset(each)) for each in halves.values() if len(each) == 1]

    def finding(self, fault: Fault, walks: Sequence[Seen], window: int) -> Finding:
        links = sorted({self._link[each] for each in _half_links(fault.candidates)})
        access = any(candidate.kind == "access" for candidate in fault.candidates)
        directions = {candidate.elements for candidate in fault.candidates}
        one_way = len(directions) == 1 and fault.candidates[0].kind == "half_link"
        words = [f"access of agent {self._agent}"] if access else []
        if one_way:
            direction = words_of = self._arrow[next(iter(_half_links(fault.candidates)))]
            words.append(f"link {words_of}")
        else:
            direction = "both" if fault.candidates[0].kind == "link" and len(directions) == 1 else "unknown"
            words += [f"link {self._name[link]}" for link in links]
        what = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
        first = _half_links(fault.candidates[:1])
        crossing = [walk for walk in walks if not first or first.intersection(walk.half_links)]
        # Every walk over it loses everything now: its counts still hold probes from before the fault.
        down = fault.rate >= 0.95 or all(walk.detector.lost_run >= LOST_RUN for walk in crossing)
        return Finding(
            parts=(*map(str, links), *([ACCESS] if access else [])),
            half_links=tuple(sorted(_half_links(fault.candidates))),
            direction=direction,
            what=what[:1].upper() + what[1:],
            down=down,
            rate=fault.rate,
            gain=fault.gain,
            reason=_reason(crossing, window),
        )

    def scores(self, verdict: Verdict) -> list[dict[str, Any]]:
        return [
            {
                "text": self._text(score.candidate),
                "gain": round(score.gain, 1),
                "rate": round(score.rate, 3),
                "sent": score.sent,
                "lost": score.lost,
                "paths": len(score.walks),
            }
            for score in verdict.scores[:5]
        ]

    def _text(self, candidate: Candidate) -> str:
        if candidate.kind == "access":
            return f"access of agent {self._agent}"
        first = min(_half_links([candidate]))
        return self._arrow[first] if candidate.kind == "half_link" else self._name[self._link[first]]


class _Ledger:
    """What is suspected and what is held, over time. JSON: see `to_json`."""

    def __init__(
        self, campaign: Campaign, now: float, before: dict[str, Any], scores: list[dict[str, Any]], brief: bool
    ) -> None:
        self._campaign = campaign
        self._source = f"probing:{campaign.pk}"
        self._now = now
        self._scores = scores
        self._brief = brief
        self._before: dict[str, float] = before.get("suspects", {})
        self.suspects: dict[str, float] = {}
        self.held: dict[str, dict[str, Any]] = before.get("held", {})
        self._named: set[str] = set()

    def to_json(self) -> dict[str, Any]:
        """`suspects`: since when a fault is named without being reported; `held`: reported faults by element."""
        return {"suspects": self.suspects, "held": self.held, "scores": self._scores}

    def name(self, finding: Finding, stable: bool, walks: Sequence[Seen]) -> None:
        """The verdict has this fault. One that shares a link with a held one is that one, seen better or worse."""
        for element, held in self.held.items():
            if set(held["parts"]) & set(finding.parts):
                self._named.add(element)
                self._retell(element, held, finding, walks)
                return
        element = finding.element(self._campaign.agent_id)
        suspect = f"{element} {finding.direction}"
        since = self.suspects[suspect] = self._before.get(suspect, self._now)
        if self._now - since < (CONFIRM if stable else CONFIRM_UNSTABLE):
            return
        del self.suspects[suspect]
        self._named.add(element)
        self.held[element] = held = {"kind": finding.kind, "parts": list(finding.parts), "reason": finding.reason}
        self._tell(element, held, finding, walks)

    def settle(self, walks: Sequence[Seen], titles: Sequence[str]) -> None:
        """Take back what is held without being named any more."""
        for element, held in list(self.held.items()):
            if element in self._named:
                held.pop("unnamed", None)
                continue
            reason = self._over(held, walks, titles)
            if reason:
                del self.held[element]
                incident_clear(kind=held["kind"], element=element, source=self._source, reason=reason)

    def _over(self, held: dict[str, Any], walks: Sequence[Seen], titles: Sequence[str]) -> str:
        """Why a held fault is over, or nothing."""
        its = set(held["half_links"])
        crossing = [walk for walk in walks if not its or its.intersection(walk.half_links)]
        if not crossing:
            return "No probe crosses it any more: the plan has changed."
        if not any(walk.bad for walk in crossing):
            passing = sum(walk.path.state != Path.State.UNKNOWN for walk in crossing)
            return f"Probes pass again on all {passing} paths over it." if passing else ""
        if self._brief and not held["down"]:
            return ""  # so short a look cannot see a little loss
        since = held.setdefault("unnamed", self._now)
        if self._now - since < ELSEWHERE:
            return ""
        return f"What is lost is explained by: {'; '.join(titles)}." if titles else "The evidence has faded."

    def _retell(self, element: str, held: dict[str, Any], finding: Finding, walks: Sequence[Seen]) -> None:
        """Bring the incident up to date, its title only once the change has lasted."""
        if finding.shape == held["shape"]:
            held.pop("changing", None)
        elif self._now - held.setdefault("changing", self._now) >= RETOLD:
            self._tell(element, held, finding, walks)
            return
        if self._now - held["told"] >= RETOLD:
            self._tell(element, held, finding, walks, title=held["title"])

    def _tell(
        self, element: str, held: dict[str, Any], finding: Finding, walks: Sequence[Seen], title: str = ""
    ) -> None:
        if not title:
            held.pop("changing", None)
            held |= {"shape": finding.shape, "title": finding.title, "down": finding.down}
            held["half_links"] = list(finding.half_links)
        held["told"] = self._now
        bad = [
            walk
            for walk in walks
            if walk.bad and (finding.kind == ACCESS or set(finding.half_links) & set(walk.half_links))
        ]
        incident_report(
            kind=held["kind"],
            element=element,
            source=self._source,
            title=held["title"],
            severity="critical" if held["down"] else "warning",
            reason=held["reason"],
            evidence={
                "by": f"the probes of {self._campaign.name}",
                "direction": finding.direction,
                "loss": f"{finding.rate:.0%}",
                "score": round(finding.gain, 1),
                "candidates": self._scores,
                "paths": [_evidence(walk) for walk in bad[:40]],
            },
        )


def _half_links(candidates: Iterable[Candidate]) -> set[int]:
    return {each for candidate in candidates if candidate.kind != "access" for each in candidate.elements}  # type: ignore[misc]


def _reason(crossing: Sequence[Seen], window: int) -> str:
    counts = [walk.detector.evidence(window) for walk in crossing]
    sent, lost = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return f"Of the last {sent} probes on the {len(crossing)} walks over it {lost} were lost."


def _evidence(walk: Seen) -> dict[str, Any]:
    path = walk.path
    back = f", back {' '.join(path.back_names)}" if path.back_names else ""
    return {"text": f"{' '.join(path.out_names)}{back}", "state": path.state, "loss": path.loss_percent}
