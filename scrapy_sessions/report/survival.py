"""Survival curves after Kaplan and Meier."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Step", "median", "survival"]


class Step(NamedTuple):
    """From the age *time* (seconds) on, *share* of the sessions live. *at_risk* were known to live just before."""

    time: float
    share: float
    at_risk: int


def survival(lives: Iterable[tuple[float, float, bool]], most: int = 200) -> list[Step]:
    """Return the curve of *lives*, as at most *most* steps; the last one is that of the last age seen.

    A life is its age when it was first looked at (below 0: from birth on), its age when it ended or was last seen, and
    whether it ended. One that didn't end (it goes on, or left for another reason) says that it lived that long, and
    nothing of what came after; one that was looked at late says nothing of the time before.
    """
    seen = [(entry, max(exit_, 0.0), ended) for entry, exit_, ended in lives if exit_ > entry]
    if not seen:
        return []
    entries = sorted(entry for entry, _, _ in seen)
    exits = sorted(exit_ for _, exit_, _ in seen)
    ends = Counter(exit_ for _, exit_, ended in seen if ended)
    steps, share = [Step(0.0, 1.0, len(seen))], 1.0
    for time in sorted(ends):
        at_risk = bisect_left(entries, time) - bisect_left(exits, time)
        share *= 1 - ends[time] / at_risk
        steps.append(Step(time, share, at_risk))
    if len(steps) > most:
        steps = [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
    if exits[-1] > steps[-1].time:
        steps.append(Step(exits[-1], share, 1))
    return steps


def median(steps: Iterable[Step]) -> float | None:
    """Return the age that half of the sessions reach; ``None`` if more than half were alive when last seen."""
    return next((step.time for step in steps if step.share <= 0.5), None)
