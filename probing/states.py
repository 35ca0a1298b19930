"""The detector of a path (probing/detection.py) and what is normal for it."""

from __future__ import annotations

import math

from probing.detection import Detector, Thresholds
from probing.models import Campaign, Path


def thresholds_of(campaign: Campaign, path: Path) -> Thresholds:
    """Runs are counted in probes: at high rates they span as long as at 10 probes/s, lest a hiccup be a fault."""
    return Thresholds(
        wires=len(path.out) + len(path.back) + 2,
        loss=min(campaign.loss_percent / 100, 0.99),
        latency_us=round(campaign.latency_ms * 1000),
        hard_run=max(5, math.ceil(campaign.rate * 0.3)),
        recover_run=max(10, math.ceil(campaign.rate * 2)),
        latency_run=max(5, math.ceil(campaign.rate * 0.5)),
    )


def detector_of(path: Path) -> Detector:
    try:
        return Detector.from_json(path.detector)
    except (TypeError, KeyError, ValueError):
        return Detector()
