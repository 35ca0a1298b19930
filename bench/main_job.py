"""The main job, timed: cut every link of the lab silently, both ways and one way, until the incident and the mail.

Baseline: blaming the link that most failing paths share (boolean cover), from the same probes.
"""

import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.support import finish, quick, spread, table
from tests.installation import Installation, wait_for

LINKS = [("R1", "R2"), ("R1", "R3"), ("R2", "R4"), ("R2", "R5"), ("R3", "R5"), ("R3", "R4"), ("R4", "R6"), ("R5", "R6")]


def naive_guess(installation: Installation) -> str:
    """Without localisation: the link that the most failing paths share, the first in order on a tie."""
    counts: dict[str, int] = {}
    for path in installation.results("/api/probing/paths/?role=path&state=down"):
        for a, b in zip(path["hops"], path["hops"][1:], strict=False):
            if a.startswith("R") and b.startswith("R"):
                name = "–".join(sorted((a, b)))
                counts[name] = counts.get(name, 0) + 1
    return max(sorted(counts), key=lambda name: counts[name]) if counts else "none"


def cut(installation: Installation, a: str, b: str, *, one_way: bool) -> tuple[float, float, float, bool, bool, str]:
    """Seconds to incident, to mail and to resolution; whether it was right; whether the baseline was; the title."""
    installation.settle()
    mails = len(installation.mails())
    began = time.monotonic()
    installation.lab("cut", a, b, silent=True, one_way=one_way)
    incident = wait_for("an incident", installation.open_incidents, 60)[0]
    incident_s = time.monotonic() - began
    wait_for("a mail", lambda: len(installation.mails()) > mails, 60)
    mail_s = time.monotonic() - began
    time.sleep(3)
    incidents, title = installation.open_incidents(), str(incident["title"])
    expected = f"{a}→{b}" if one_way else "–".join(sorted((a, b)))
    right = (
        len(incidents) == 1
        and expected in title
        and set(re.findall(r"R\d+", title)) == {a, b}
        and len(installation.mails()) == mails + 1
    )
    guess = naive_guess(installation) == "–".join(sorted((a, b)))
    healed = time.monotonic()
    installation.lab("heal")
    wait_for("the incident to resolve", lambda: not installation.open_incidents(), 75)
    resolved_s = time.monotonic() - healed
    wait_for("the recovery's mail", lambda: len(installation.mails()) > mails + 1, 60)
    return incident_s, mail_s, resolved_s, right, guess, title


def main() -> None:
    one_way = "--one-way" in sys.argv[1:]
    links = LINKS[2:4] if quick() else LINKS
    cuts = [(a, b, False) for a, b in links]
    if one_way:
        cuts = [(x, y, True) for a, b in links for x, y in ((a, b), (b, a))]
    elif not quick():
        cuts += [(x, y, True) for a, b in links for x, y in ((a, b), (b, a))]
    rows, results = [], []
    with Installation() as installation:
        for a, b, direction in cuts:
            result = cut(installation, a, b, one_way=direction)
            results.append(result)
            incident_s, mail_s, resolved_s, right, guess, title = result
            name = f"{a}→{b}" if direction else f"{a}–{b}"
            rows.append((name, f"{incident_s:.2f}", f"{mail_s:.2f}", f"{resolved_s:.2f}", right, guess, title))
    table(("cut", "incident s", "mail s", "resolved s", "right", "baseline right", "title"), rows)
    print(f"cut to incident {spread([r[0] for r in results])} s (min / median / max)")
    print(f"cut to mail     {spread([r[1] for r in results])} s")
    print(f"heal to resolved {spread([r[2] for r in results])} s")
    finish(
        cut_to_incident_s=round(statistics.median(r[0] for r in results), 2),
        cut_to_mail_s=round(statistics.median(r[1] for r in results), 2),
        right=sum(r[3] for r in results),
        of=len(results),
        baseline_right=sum(r[4] for r in results),
    )


if __name__ == "__main__":
    main()
